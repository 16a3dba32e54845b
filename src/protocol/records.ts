import { textLines } from './evidence.ts'
import { MalformedDataError } from '../errors.ts'

/**
 * The record of a job's part, as the driver writes it when it creates the part. Scripts keep the changing fields:
 * `state`, `submitted`, `complete`, `waiting`, `settled`, `failed`, `released`, `pace`, `collector`, `cursor`,
 * `accumulator`.
 */
export interface PartFields {
  readonly task: string
  /** The code hash that the job needs; its chunks only reach threads that run this code. */
  readonly hash: string
  /** `list`: inputs were pulled from an iterable. `range`: input = start + step × index, so any driver can finish it. */
  readonly kind: 'list' | 'range'
  readonly start: number
  readonly step: number
  /** Tasks in a range job; -1 while unknown. */
  readonly total: number
  readonly priority: number
  readonly detached: boolean
  /** The name of the reducer that workers apply, or ''. */
  readonly reducer: string
  /** Whether a shared value is stored. */
  readonly shared: boolean
  /** How long everything of the job is kept once nobody drives it, or a detached one has ended. */
  readonly keepMs: number
}

export type PartState = 'open' | 'parked' | 'cancelled'

/** A part's record as read from Redis. */
export interface PartRecord extends PartFields {
  readonly incarnation: string
  readonly collector: string
  /** How many drivers have attached since the job was made: tells a successor from what Redis went back to. */
  readonly attaches: number
  readonly state: PartState
  /** How many inputs were submitted: the cursor. */
  readonly submitted: number
  /** Whether `submitted` is all there will be. */
  readonly complete: boolean
  /** Tasks in the List, neither staged nor claimed. */
  readonly waiting: number
  readonly settled: number
  readonly failed: number
  readonly released: number
  /** Measured nanoseconds a task; 0 before the first commit. */
  readonly pace: number
  /** How far an ordered consumer has come: everything before it is used and released. */
  readonly cursor: number
  /** How far an ordered reduction has come, and what it has; undefined before its first checkpoint. */
  readonly checkpoint: { readonly cursor: number; readonly accumulator: Buffer } | undefined
}

/** What changes in a part while it runs. */
export interface PartCounters extends Pick<
  PartRecord,
  | 'incarnation'
  | 'collector'
  | 'state'
  | 'submitted'
  | 'complete'
  | 'settled'
  | 'failed'
  | 'waiting'
  | 'pace'
  | 'attaches'
> {
  /** Tasks that wait for a retry. */
  readonly delayed: number
}

/** What else a part may begin with. */
export interface PartBeginning {
  /** How many drivers had attached to the job before Redis lost it. */
  readonly attaches?: number
  /** The pace of an earlier job with the same task, in nanoseconds a task: the first claims need not be small. */
  readonly pace?: number
}

/** The fields and values that `submit` stores when it creates a part. */
export function partFieldArguments(fields: PartFields & PartBeginning): string[] {
  const { task, hash, kind, start, step, total, priority, detached, reducer, shared, keepMs } = fields
  const { attaches = 0, pace = 0 } = fields
  const pairs = {
    task,
    hash,
    kind,
    start,
    step,
    total,
    priority,
    detached: Number(detached),
    reducer,
    shared: Number(shared),
    keepMs,
    ...(attaches > 0 && { attached: attaches }),
    ...(pace > 0 && { pace: pace.toFixed(1) }),
  }
  return Object.entries(pairs).flatMap(([field, value]) => [field, String(value)])
}

/** @throws {MalformedDataError} when the Hash is not a part's record. */
export function decodePartRecord(fields: ReadonlyMap<string, Buffer>): PartRecord {
  const text = (field: string) => fields.get(field)?.toString('utf8') ?? ''
  const number = (field: string, missing = 0) => {
    const value = fields.has(field) ? Number(text(field) || NaN) : missing
    if (!Number.isFinite(value)) throw malformed(field)
    return value
  }
  const count = (field: string, missing = 0) => {
    const value = number(field, missing)
    if (!Number.isSafeInteger(value)) throw malformed(field)
    return value
  }
  const tally = (field: string) => {
    const value = count(field)
    if (value < 0) throw malformed(field)
    return value
  }
  const state = text('state')
  if (state !== 'open' && state !== 'parked' && state !== 'cancelled') throw malformed('state')
  const accumulator = fields.get('accumulator')
  return {
    task: text('task'),
    hash: text('hash'),
    kind: text('kind') === 'range' ? 'range' : 'list',
    start: number('start'),
    step: number('step', 1),
    total: count('total', -1),
    priority: count('priority'),
    detached: text('detached') === '1',
    reducer: text('reducer'),
    shared: text('shared') === '1',
    keepMs: tally('keepMs'),
    attaches: tally('attached'),
    incarnation: text('incarnation'),
    collector: text('collector'),
    state,
    submitted: tally('submitted'),
    complete: text('complete') === '1',
    waiting: Math.max(0, count('waiting')),
    settled: tally('settled'),
    failed: tally('failed'),
    released: tally('released'),
    pace: Math.max(0, number('pace')),
    cursor: tally('cursor'),
    checkpoint: accumulator === undefined ? undefined : { cursor: tally('cursor'), accumulator },
  }
}

/** The fields of a record that `decodeCounters` reads, in this order. */
export const counterFields = [
  'incarnation',
  'collector',
  'state',
  'submitted',
  'complete',
  'settled',
  'failed',
  'waiting',
  'pace',
  'attached',
] as const

/** Undefined for a part that is not there. @throws {MalformedDataError} for counts that are none. */
export function decodeCounters(
  values: readonly (string | null | undefined)[],
  delayed: number,
): PartCounters | undefined {
  const [incarnation, collector, state, submitted, complete, settled, failed, waiting, pace, attached] = values
  if (incarnation == null) return undefined
  const number = (value: string | null | undefined, field: string) => {
    const parsed = value == null ? 0 : Number(value || NaN)
    if (!Number.isFinite(parsed)) throw malformed(field)
    return parsed
  }
  const count = (value: string | null | undefined, field: string) => {
    const parsed = number(value, field)
    if (!Number.isSafeInteger(parsed)) throw malformed(field)
    return parsed
  }
  return {
    incarnation,
    collector: collector ?? '',
    state: state === 'parked' || state === 'cancelled' ? state : 'open',
    submitted: count(submitted, 'submitted'),
    complete: complete === '1',
    settled: count(settled, 'settled'),
    failed: count(failed, 'failed'),
    waiting: Math.max(0, count(waiting, 'waiting')),
    pace: Math.max(0, number(pace, 'pace')),
    attaches: Math.max(0, count(attached, 'attached')),
    delayed,
  }
}

function malformed(field: string): MalformedDataError {
  return new MalformedDataError(
    `A job's record in Redis has no valid ${JSON.stringify(field)}. Something else wrote to its key.`,
  )
}

/** What a worker says of itself when it registers. */
export interface WorkerInfo {
  readonly id: string
  readonly host: string
  readonly pid: number
  readonly threads: number
  /** The code hash of its task module. */
  readonly hash: string
  readonly tasks: readonly string[]
  readonly reducers: readonly string[]
  /** Milliseconds since the epoch, by the worker's own clock; for people only. */
  readonly startedAt: number
  /** The version of Millrace. */
  readonly version: string
  /** What the process that started it calls this run of it, to say later how it ended; empty where nobody watches. */
  readonly launch: string
}

/** What the driver makes room for in a list of answers; a worker has at most 1,024. */
const mostThreads = 65_536

/** What a worker says with each heartbeat. */
export interface WorkerStats {
  /** Threads that run something. */
  readonly busy: number
  /** Tasks settled since its start. */
  readonly settled: number
  /** The memory of its process. */
  readonly rssBytes: number
  /** What it logged last, up to then. */
  readonly lines: readonly string[]
}

/** Takes any text: what is missing or of the wrong kind is 0. */
export function decodeWorkerStats(json: string): WorkerStats {
  const stats = objectOf(json) ?? {}
  const count = (field: string) => {
    const value = stats[field]
    return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : 0
  }
  return {
    busy: count('busy'),
    settled: count('settled'),
    rssBytes: count('rssBytes'),
    lines: textLines(stats['lines']),
  }
}

function objectOf(json: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(json)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** @throws {MalformedDataError} when the text is not a worker's description. */
export function decodeWorkerInfo(json: string): WorkerInfo {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch (cause) {
    throw new MalformedDataError("A worker's record in Redis is not JSON. Something else wrote to its key.", { cause })
  }
  const info = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>
  const string = (field: string) => (typeof info[field] === 'string' ? info[field].slice(0, 500) : '')
  const count = (field: string, most = Number.MAX_SAFE_INTEGER) => {
    const value = info[field]
    return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? Math.min(value, most) : 0
  }
  const names = (field: string) =>
    Array.isArray(info[field]) ? info[field].filter(name => typeof name === 'string').slice(0, 10_000) : []
  return {
    id: string('id'),
    host: string('host'),
    pid: count('pid'),
    threads: count('threads', mostThreads),
    hash: string('hash'),
    tasks: names('tasks'),
    reducers: names('reducers'),
    startedAt: count('startedAt'),
    version: string('version'),
    launch: string('launch'),
  }
}
