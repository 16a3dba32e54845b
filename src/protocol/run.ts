import { MalformedDataError } from '../errors.ts'
import { randomName } from './names.ts'

/**
 * A run is the outcome of consecutive tasks, as one field of the results Hash: the field is the index of the first,
 * the value is `<count> <kind>\n<bytes>`. A field per task would cost 63 bytes a task.
 *
 * - `values`: a batch of `count` results.
 * - `partial`: one value, the reduction of `count` results.
 * - `failure`: one failure record, of one task.
 * - `held`: as `values`, and the bytes are `<field> <bytes>`: where the batch lies in the part's payloads, and its size. Scripts
 *   would copy it, and Redis's Lua hashes every byte of every string that it is given.
 */
export interface Run {
  readonly first: number
  readonly count: number
  readonly kind: RunKind
  readonly bytes: Buffer
}

export type RunKind = 'values' | 'partial' | 'failure'

const newline = 0x0a
const prefixPattern = /^(\d{1,15}) (values|partial|failure|held)$/
const heldPattern = /^(r:\w{1,64}) (\d{1,15})$/
const countPattern = /^\d{1,15}$/
const pacePattern = /^\d{1,15}(\.\d{1,15})?$/

/** A run's value in two pieces, so that its bytes are not copied. */
export function runValue({ count, kind, bytes }: Pick<Run, 'count' | 'kind' | 'bytes'>): readonly [Buffer, Buffer] {
  return [Buffer.from(`${count} ${kind}\n`), bytes]
}

/** What the results Hash has for a run whose bytes are held in this field of the part's payloads. */
export function heldRunValue(count: number, field: string, bytes: number): string {
  return `${count} held\n${field} ${bytes}`
}

/** The field of the part's payloads for one attempt to hand in one run: no other will ever use it. */
export function newHeldField(): string {
  return `r:${randomName()}`
}

/** @throws {MalformedDataError} when the field or its value is not a run. `bytes` is a view of the value. */
export function decodeRun(field: string, value: Buffer): Run | UnreadRun {
  const end = value.subarray(0, 32).indexOf(newline)
  const match = end < 0 ? null : prefixPattern.exec(value.toString('latin1', 0, end))
  const count = Number(match?.[1])
  if (match === null || !countPattern.test(field) || !(count > 0)) {
    throw new MalformedDataError(
      `The results field ${JSON.stringify(field.slice(0, 40))} does not hold a run of results.`,
    )
  }
  if (match[2] === 'held') return unreadRun(field, count, 'held', value.toString('latin1', end + 1, end + 101))
  return { first: Number(field), count, kind: match[2] as RunKind, bytes: value.subarray(end + 1) }
}

/**
 * What a commit publishes to the job's collector. A line `results <job> <incarnation> <settled> <pace>`, then for each run a
 * line `<first> <bytes>` followed by that many bytes of its value. A run too large to travel here has `-` for its
 * bytes and is read from the Hash. `settled` is the part's count after the commit: a collector that has seen less has
 * missed a message and re-reads the Hash.
 */
export interface ResultsMessage {
  readonly type: 'results'
  readonly job: string
  readonly incarnation: string
  readonly settled: number
  /** Measured nanoseconds a task in the committed chunks; 0 when unknown. */
  readonly paceNs: number
  readonly runs: readonly Run[]
  /** Runs that were too large to travel in the message. */
  readonly unread: readonly UnreadRun[]
}

/** A run of which all is known but its bytes, which are in the results Hash or among the payloads. */
export interface UnreadRun {
  readonly first: number
  readonly count: number
  readonly kind: RunKind
  /** Length of its value in the Hash, or of what is held. */
  readonly valueBytes: number
  /** The field of the part's payloads that has its bytes. */
  readonly held?: string
}

/** A thread has written its answer to a broadcast into the broadcast's Hash, under `field`. */
export interface AnsweredMessage {
  readonly type: 'answered'
  readonly broadcast: string
  /** `<worker>/<thread>` */
  readonly field: string
}

/** What a thread publishes to the reply channel of a broadcast when its answer is in the Hash. */
export function encodeAnswered(broadcast: string, field: string): Buffer {
  return Buffer.from(`answered ${broadcast} ${field}\n`)
}

/** Another process attached to the job, or the job was cancelled from elsewhere. */
export interface JobMessage {
  readonly type: 'replaced' | 'cancelled'
  readonly job: string
  readonly incarnation: string
}

/** @throws {MalformedDataError} when the message is none that a collector knows. */
export function decodeCollectorMessage(message: Buffer): ResultsMessage | JobMessage | AnsweredMessage {
  const end = lineEnd(message, 0)
  const [type, job = '', incarnation = '', settled, pace] = message.toString('utf8', 0, end).split(' ')
  if (type === 'replaced' || type === 'cancelled') return { type, job, incarnation }
  if (type === 'answered') return { type, broadcast: job, field: incarnation }
  // What is no number here would be one to the collector's sums, and none of them would be right again.
  if (type !== 'results' || !countPattern.test(settled ?? '') || !pacePattern.test(pace ?? '')) throw malformedMessage()
  const runs: Run[] = []
  const unread: UnreadRun[] = []
  let offset = end + 1
  while (offset < message.length) {
    const stop = lineEnd(message, offset)
    const [field = '', size = '', count, kind = '', valueBytes] = message.toString('latin1', offset, stop).split(' ')
    offset = stop + 1
    if (size === '-') {
      unread.push(unreadRun(field, count, kind, valueBytes))
      continue
    }
    const bytes = Number(size)
    if (!countPattern.test(size) || offset + bytes > message.length) throw malformedMessage()
    const run = decodeRun(field, message.subarray(offset, offset + bytes))
    if ('bytes' in run) runs.push(run)
    else unread.push(run)
    offset += bytes
  }
  return { type, job, incarnation, settled: Number(settled), paceNs: Number(pace), runs, unread }
}

/** `size`: of its value, or for a held one where it is. @throws {MalformedDataError} unless the words are those of a run in the results Hash. */
export function unreadRun(field: string, count: unknown, kind: string, size: unknown): UnreadRun {
  if (kind === 'held') {
    const [, held, bytes] = heldPattern.exec(String(size)) ?? []
    if (held === undefined) throw malformedMessage()
    return { ...unreadRun(field, count, 'values', bytes), held }
  }
  const valueBytes = size
  const run = { first: Number(field), count: Number(count), valueBytes: Number(valueBytes) }
  const areNumbers = [field, count, valueBytes].every(word => countPattern.test(String(word)))
  const isKnown = kind === 'values' || kind === 'partial' || kind === 'failure'
  if (!areNumbers || !isKnown || run.count === 0 || run.valueBytes === 0) throw malformedMessage()
  return { ...run, kind }
}

function lineEnd(message: Buffer, from: number): number {
  const end = message.indexOf(newline, from)
  if (end < 0 || end - from > 1024) throw malformedMessage()
  return end
}

function malformedMessage(): MalformedDataError {
  return new MalformedDataError('A message on a collector channel is none that Millrace sends; it was ignored.')
}
