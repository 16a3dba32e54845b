import type { ResolvedTaskOptions } from '../code/task.ts'
import { TaskQuarantinedError } from '../errors.ts'
import { decodeChunk, encodeChunk } from '../protocol/chunk.ts'
import type { Chunk, ChunkHeader } from '../protocol/chunk.ts'
import { factsOf } from '../protocol/evidence.ts'
import { describeFailure } from '../protocol/failure.ts'
import { encodeOutcome } from '../protocol/outcome.ts'
import type { FailureCode } from '../protocol/outcome.ts'
import type { Run } from '../protocol/run.ts'
import { encodeBatch } from '../protocol/values.ts'
import type { Retry } from '../store/claim-store.ts'
import { handingIn, partHash, reading } from './board.ts'
import type { Board } from './board.ts'
import { cancelError, endOf, timeoutError } from './chunk-run.ts'
import type { Commit, TaskEnd } from './commit.ts'
import { inputsOf } from '../protocol/inputs.ts'
import type { Verdict } from './thread-handle.ts'

/**
 * Who is charged with the end of a thread: the board says which task it was on. Code on the stack is certain. Without
 * any, one asynchronous task in progress is certain too; of several each may have been it, and they run alone next
 * time, so that the next end is certain.
 */
export type Charge = 'death' | 'suspect' | 'memory' | 'timeout' | 'cancel'

/** A task that is charged. */
export interface Charged {
  readonly hash: number
  readonly index: number
  readonly charge: Charge
}

export function chargedTasks(board: Board, verdict: Verdict | undefined): readonly Charged[] {
  if (verdict?.kind === 'drain' || verdict?.kind === 'standstill') return []
  const { batch, task, slot } = board.look()
  if (verdict !== undefined && verdict.kind !== 'memory' && (verdict.batch !== batch || verdict.task !== task)) {
    // It had gone on before it was ended: whatever runs there now is not to blame.
    return []
  }
  const charge = verdict?.kind ?? 'death'
  if (task >= 0) {
    const shown = slot === undefined ? undefined : board.shownChunk()
    const header = shown && headerOf(shown.line)
    if (shown === undefined || header === undefined) return []
    return [{ hash: partHash(header), index: header.first + task - shown.offset, charge }]
  }
  const pending = board.pending()
  // A chunk that was read, or handed in, may be to blame as well; see `chargedChunks`.
  const isAlone = pending.length === 1 && task === -1
  return pending.map(({ partHash: hash, index }) => ({
    hash,
    index,
    charge: isAlone || charge === 'memory' ? charge : 'suspect',
  }))
}

/** Chunks that are charged as a whole. */
export interface ChargedChunks {
  readonly charge: 'death' | 'memory'
  /** No task in progress may have been it as well. */
  readonly alone: boolean
  readonly has: (claim: string, header: ChunkHeader) => boolean
}

/**
 * The chunk whose inputs were being read when the thread ended, or those whose results were being put together: which of
 * their tasks has too much to read, or returned what a reducer does not survive, can't be told.
 */
export function chargedChunks(board: Board, verdict: Verdict | undefined): ChargedChunks | undefined {
  if (verdict !== undefined && verdict.kind !== 'memory') return undefined
  const { task } = board.look()
  const { partHash: hash, handedIn } = board.whole
  const charge = verdict?.kind ?? 'death'
  const alone = board.pending().length === 0
  if (task === handingIn)
    return { charge, alone, has: (claim, header) => claim === handedIn && partHash(header) === hash }
  const shown = task === reading ? headerOf(board.shownChunk()?.line ?? '') : undefined
  if (shown === undefined) return undefined
  return { charge, alone, has: (_claim, header) => partHash(header) === hash && header.first === shown.first }
}

/** The header of a line that a thread published, or undefined for none. */
export function headerOf(line: string): ChunkHeader | undefined {
  try {
    return decodeChunk(Buffer.from(`${line}\n`)).header
  } catch {
    return undefined
  }
}

export interface DeathContext {
  readonly maxDeaths: number
  /** The thread, as `host:pid/thread`. */
  readonly worker: string
  readonly limitsOf: (task: string) => ResolvedTaskOptions | undefined
  readonly evidence: readonly string[]
}

/** What is committed for a chunk of a thread that ended. */
export interface ChunkVerdict {
  readonly commit: Commit
  /** Tasks that are quarantined by it. */
  readonly quarantined: readonly {
    readonly index: number
    readonly element: Buffer
    readonly evidence: readonly string[]
  }[]
}

/**
 * Halves a chunk that is charged as a whole, as the reaper does with those of a process that died, until the task is alone
 * that is to blame. `isAlone`: no other chunk is charged with it.
 */
export function judgeWhole(
  chunk: Chunk,
  charge: ChargedChunks['charge'],
  isAlone: boolean,
  context: DeathContext,
  held?: Buffer,
): ChunkVerdict | undefined {
  const { job, incarnation, first, count, attempt, deaths } = chunk.header
  if (count === 1) {
    const charged = { hash: partHash(chunk.header), index: first, charge: isAlone ? charge : 'suspect' } as const
    return judgeChunk(chunk, [charged], context, held)
  }
  const half = Math.ceil(count / 2)
  const piece = (from: number, tasks: number): Retry => {
    const header = { ...chunk.header, first: from, count: tasks, deaths: Math.max(1, deaths) }
    return { delayMs: 0, element: encodeChunk(header, chunk.payload) }
  }
  const commit = {
    part: { job, incarnation },
    chunks: [{ first, attempt, done: count }],
    runs: [],
    retries: [piece(first, half), piece(first + half, count - half)],
  }
  return { commit, quarantined: [] }
}

/**
 * Cuts a chunk around its charged tasks: each goes alone, the others as they were, uncharged. Undefined when none of
 * its tasks is charged: then it is simply handed back. `held`: the payload of a held chunk, which goes along into quarantine.
 */
export function judgeChunk(
  chunk: Chunk,
  charged: readonly Charged[],
  context: DeathContext,
  held?: Buffer,
): ChunkVerdict | undefined {
  const { header } = chunk
  const { job, incarnation, first, count, attempt } = header
  const whole: Chunk = held === undefined ? chunk : { ...chunk, header: { ...header, kind: 'pack' }, payload: held }
  const hash = partHash(header)
  const own = charged
    .filter(task => task.hash === hash && task.index >= first && task.index < first + count)
    .sort((a, b) => a.index - b.index)
  if (own.length === 0) return undefined
  const runs: Run[] = []
  const retries: Retry[] = []
  const quarantined: { index: number; element: Buffer; evidence: readonly string[] }[] = []
  let from = first
  const others = (to: number) => {
    if (to > from)
      retries.push({ delayMs: 0, element: encodeChunk({ ...header, first: from, count: to - from }, chunk.payload) })
  }
  for (const { index, charge } of own) {
    others(index)
    from = index + 1
    const end = judgeTask(chunk, index, charge, context)
    if ('retry' in end) {
      retries.push({ delayMs: end.delayMs, element: alone(chunk, index, end.retry) })
      continue
    }
    const { worker } = context
    const evidence = [...context.evidence.slice(0, 1), ...factsOf(whole, index), ...context.evidence.slice(1)]
    const outcome = { code: end.code, attempt, worker, error: end.error }
    const isQuarantined = end.code === 'TASK_QUARANTINED'
    runs.push({
      first: index,
      count: 1,
      kind: 'failure',
      bytes: encodeOutcome(isQuarantined ? { ...outcome, evidence } : outcome),
    })
    if (isQuarantined) quarantined.push({ index, element: alone(whole, index, { deaths: 0 }), evidence })
  }
  others(first + count)
  const commit = {
    part: { job, incarnation },
    chunks: [{ first, attempt, done: count }],
    runs,
    retries,
  }
  return { commit, quarantined }
}

type Judgement =
  | { readonly retry: Partial<ChunkHeader>; readonly delayMs: number }
  | { readonly code: FailureCode; readonly error: Extract<TaskEnd, { kind: 'failure' }>['error'] }

function judgeTask({ header }: Chunk, index: number, charge: Charge, context: DeathContext): Judgement {
  const { maxDeaths, worker, limitsOf, evidence } = context
  const limits = limitsOf(header.task)
  switch (charge) {
    case 'suspect':
      return { retry: { deaths: Math.max(1, header.deaths) }, delayMs: 0 }
    case 'cancel':
      return { code: 'TASK_CANCELLED', error: describeFailure(cancelError(header, index, worker)) }
    case 'timeout': {
      const error = timeoutError(header, index, worker, limits?.timeoutMs ?? 0)
      const end = limits === undefined ? undefined : endOf('TASK_TIMEOUT', error, header.attempt, limits)
      if (end?.kind === 'retry') return { retry: { attempt: header.attempt + 1, deaths: 0 }, delayMs: end.delayMs }
      return { code: 'TASK_TIMEOUT', error: describeFailure(error) }
    }
    case 'memory':
    case 'death': {
      // Each task that ran may be the one that took the memory. Next time it runs with no other suspect in its process.
      if (charge === 'memory' && header.deaths === 0) return { retry: { deaths: 1 }, delayMs: 0 }
      // 0 clean, 1 suspect, n + 1: n certain deaths, of which this is one.
      const deaths = Math.max(1, header.deaths) + 1
      if (deaths <= maxDeaths) return { retry: { deaths }, delayMs: 0 }
      return {
        code: 'TASK_QUARANTINED',
        error: describeFailure(quarantineError(header, index, worker, deaths - 1, evidence)),
      }
    }
  }
}

function quarantineError(
  header: ChunkHeader,
  index: number,
  worker: string,
  deaths: number,
  evidence: readonly string[],
) {
  const { task, job, attempt } = header
  const error = new TaskQuarantinedError(
    `The task ${JSON.stringify(task)} ${job}/${index} ended its thread ${deaths} time${deaths === 1 ? '' : 's'} and was set aside. ${evidence[0] ?? ''}`,
    { task, jobId: job, index, attempt, worker, evidence },
  )
  error.stack = `${error.name}: ${error.message}`
  return error
}

/** A chunk of one task. Its input alone goes along, where it can be told from the others'. */
function alone(chunk: Chunk, index: number, changes: Partial<ChunkHeader>): Buffer {
  const header = { ...chunk.header, first: index, count: 1, ...changes }
  // Where it is the only one nothing is decoded: that may be what ended the thread.
  const isOnly = chunk.header.count === 1 && chunk.header.base === index
  if (header.kind === 'held' || isOnly) return encodeChunk(header, chunk.payload)
  if (header.kind === 'range') return encodeChunk({ ...header, base: index }, chunk.payload)
  try {
    const input = inputsOf(chunk.header, chunk.payload)[index - chunk.header.first]
    return encodeChunk({ ...header, base: index }, encodeBatch([input]))
  } catch {
    return encodeChunk(header, chunk.payload)
  }
}
