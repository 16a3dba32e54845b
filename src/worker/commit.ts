import { ValueTooLargeError } from '../errors.ts'
import { encodeChunk } from '../protocol/chunk.ts'
import type { ChunkHeader } from '../protocol/chunk.ts'
import { describeFailure } from '../protocol/failure.ts'
import type { FailureRecord } from '../protocol/failure.ts'
import { encodeOutcome } from '../protocol/outcome.ts'
import type { FailureCode } from '../protocol/outcome.ts'
import type { Run } from '../protocol/run.ts'
import { encodeBatch, encodeBatchSettled, encodeValue, maxValueBytes } from '../protocol/values.ts'
import type { Retry, SettledChunk } from '../store/claim-store.ts'
import type { PartName } from '../store/lane-access.ts'
import { inputsOf } from '../protocol/inputs.ts'

/** A chunk of which a thread has run the first `done` tasks. */
export interface FinishedChunk {
  readonly header: ChunkHeader
  /** As in its element: of a held chunk that is not its inputs. */
  readonly payload: Uint8Array
  readonly done: number
  /** By offset in the chunk; whatever stands where `ends` has an entry does not count. */
  readonly results: readonly unknown[]
  /** The tasks without a result, by offset. */
  readonly ends: ReadonlyMap<number, TaskEnd>
  /** Combines two results, for a job that is reduced on the workers. */
  readonly combine?: ((a: unknown, b: unknown) => unknown) | undefined
}

/** How a task ended that has no result: it is run again, or its failure is committed. */
export type TaskEnd =
  | { readonly kind: 'retry'; readonly delayMs: number }
  | { readonly kind: 'failure'; readonly code: FailureCode; readonly error: FailureRecord }

/** One call of `settle`. */
export interface Commit {
  readonly part: PartName
  readonly chunks: readonly SettledChunk[]
  readonly runs: readonly Run[]
  readonly retries: readonly Retry[]
}

/** Sizes that are parameters for the tests' sake. */
export interface CommitLimits {
  /** Results that together take more are put into several runs. */
  readonly runBytes: number
  /** What one run's bytes may take at most. */
  readonly mostRunBytes: number
  /** A commit is cut where it would take more: Redis closes connections that send a gigabyte at once. */
  readonly commitBytes: number
}

export const commitLimits: CommitLimits = {
  runBytes: 16 * 1024 * 1024,
  // A run's value begins with a line of its own.
  mostRunBytes: maxValueBytes - 64,
  commitBytes: 640 * 1024 * 1024,
}

/**
 * The commits for what a thread has run, one for each job: consecutive successes are merged into one run, failures are
 * runs of their own, retries go along. What is beyond `done`, or beyond the size of one commit, is handed back by the
 * script. A chunk of which nothing was run is left out: the main thread may have taken it from the claim already, and
 * a commit that names what the claim does not hold is refused as a whole. Whoever abandons the claim returns it.
 */
export function buildCommits(finished: readonly FinishedChunk[], worker: string, limits = commitLimits): Commit[] {
  const parts = new Map<string, FinishedChunk[]>()
  for (const chunk of finished) {
    if (chunk.done === 0) continue
    const part = `${chunk.header.job} ${chunk.header.incarnation}`
    const chunks = parts.get(part)
    if (chunks === undefined) parts.set(part, [chunk])
    else chunks.push(chunk)
  }
  return [...parts.values()].map(chunks => buildCommit(chunks, worker, limits))
}

function buildCommit(finished: readonly FinishedChunk[], worker: string, limits: CommitLimits): Commit {
  const { job, incarnation } = finished[0]!.header
  const attemptOf = attempts(finished)
  const failureRun = (index: number, code: FailureCode, error: FailureRecord): Run => {
    return {
      first: index,
      count: 1,
      kind: 'failure',
      bytes: encodeOutcome({ code, attempt: attemptOf(index), worker, error }),
    }
  }
  const runs: Run[] = []
  for (const stretch of stretches(finished)) {
    if ('values' in stretch) runs.push(...encodeStretch(stretch, failureRun, limits))
    else runs.push(failureRun(stretch.first, stretch.end.code, stretch.end.error))
  }
  const kept = runsWithin(runs, limits.commitBytes)
  const lost = runs.slice(kept.length)
  const chunks = finished.map(({ header: { first, attempt }, done }): SettledChunk => {
    const cuts = lost.map(run => run.first - first).filter((at, i) => at < done && at + lost[i]!.count > 0)
    return { first, attempt, done: Math.max(0, Math.min(done, ...cuts)) }
  })
  const retries = finished.flatMap((chunk, i) => buildRetries(chunk, chunks[i]!.done))
  return { part: { job, incarnation }, chunks, runs: kept, retries }
}

/** Consecutive results, or one failure. */
type Stretch =
  | { readonly first: number; values: readonly unknown[]; readonly combine: FinishedChunk['combine'] }
  | { readonly first: number; readonly end: Extract<TaskEnd, { kind: 'failure' }> }

function stretches(finished: readonly FinishedChunk[]): Stretch[] {
  const found: Stretch[] = []
  const addValues = (first: number, values: readonly unknown[], combine: FinishedChunk['combine']) => {
    const last = found.at(-1)
    if (last !== undefined && 'values' in last && last.first + last.values.length === first) {
      last.values = last.values.concat(values)
    } else if (values.length > 0) {
      found.push({ first, values, combine })
    }
  }
  for (const { header, done, results, ends, combine } of finished) {
    let from = 0
    for (const [offset, end] of [...ends].sort(([a], [b]) => a - b)) {
      if (offset >= done) break
      addValues(header.first + from, results.slice(from, offset), combine)
      from = offset + 1
      if (end.kind === 'failure') found.push({ first: header.first + offset, end })
    }
    addValues(header.first + from, from === 0 && results.length === done ? results : results.slice(from, done), combine)
  }
  return found
}

function encodeStretch(
  { first, values, combine }: Extract<Stretch, { values: unknown }>,
  failureRun: (index: number, code: FailureCode, error: FailureRecord) => Run,
  { runBytes, mostRunBytes }: CommitLimits,
): Run[] {
  const partial = combine === undefined ? undefined : encodePartial(values, combine, mostRunBytes)
  if (partial !== undefined) return [{ first, count: values.length, kind: 'partial', bytes: partial }]
  const { batches, failures } = encodeBatchSettled(values, { limitBytes: runBytes })
  const runs = batches.map((batch): Run => ({
    first: first + batch.first,
    count: batch.count,
    kind: 'values',
    bytes: batch.bytes,
  }))
  for (const { index, error } of failures)
    runs.push(encodeAlone(first + index, values[index], error, failureRun, mostRunBytes))
  return runs.sort((a, b) => a.first - b.first)
}

/** A result that was refused once: too large to share a run, it may still fit into one of its own. */
function encodeAlone(
  index: number,
  value: unknown,
  error: Error,
  failureRun: (index: number, code: FailureCode, error: FailureRecord) => Run,
  mostRunBytes: number,
): Run {
  let reason = error
  if (error instanceof ValueTooLargeError) {
    try {
      return { first: index, count: 1, kind: 'values', bytes: encodeBatch([value], { limitBytes: mostRunBytes }) }
    } catch (stillRefused) {
      reason = stillRefused as Error
    }
  }
  return failureRun(
    index,
    reason instanceof ValueTooLargeError ? 'VALUE_TOO_LARGE' : 'VALUE_NOT_ENCODABLE',
    describeFailure(reason),
  )
}

/** Undefined when the reducer throws or makes what can't travel: then the driver reduces, and meets the error itself. */
function encodePartial(
  values: readonly unknown[],
  combine: (a: unknown, b: unknown) => unknown,
  limitBytes: number,
): Buffer | undefined {
  try {
    return encodeValue(
      values.reduce((a, b) => combine(a, b)),
      { limitBytes },
    )
  } catch {
    return undefined
  }
}

function runsWithin(runs: readonly Run[], mostBytes: number): readonly Run[] {
  let bytes = 0
  const end = runs.findIndex((run, i) => {
    bytes += run.bytes.length
    return i > 0 && bytes > mostBytes
  })
  return end < 0 ? runs : runs.slice(0, end)
}

function buildRetries({ header, payload, ends }: FinishedChunk, done: number): Retry[] {
  const retries: Retry[] = []
  let inputs: readonly unknown[] | undefined
  for (const [offset, end] of ends) {
    if (end.kind !== 'retry' || offset >= done) continue
    const index = header.first + offset
    const next = { ...header, first: index, count: 1, attempt: header.attempt + 1, deaths: 0 }
    if (header.kind === 'held') {
      // The payload stays where it is, as it was submitted.
      retries.push({ delayMs: end.delayMs, element: encodeChunk(next, payload) })
      continue
    }
    // Decoded anew: the task may have changed its input.
    const own = header.kind === 'range' ? payload : encodeBatch([(inputs ??= inputsOf(header, payload))[offset]])
    retries.push({ delayMs: end.delayMs, element: encodeChunk({ ...next, base: index }, own) })
  }
  return retries
}

/** Each task's attempt: chunks of one job may differ in it. */
function attempts(finished: readonly FinishedChunk[]): (index: number) => number {
  return index => {
    const chunk = finished.find(({ header: { first, count } }) => index >= first && index < first + count)
    return chunk?.header.attempt ?? 1
  }
}
