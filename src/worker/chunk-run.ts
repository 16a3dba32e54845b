import { TaskCancelledError, TaskTimeoutError } from '../errors.ts'
import type { ResolvedTaskOptions } from '../code/task.ts'
import type { Chunk, ChunkHeader } from '../protocol/chunk.ts'
import { describeFailure } from '../protocol/failure.ts'
import type { FailureCode } from '../protocol/outcome.ts'
import { jitteredBackoffMs } from '../runtime/backoff.ts'
import { partHash } from './board.ts'
import type { FinishedChunk, TaskEnd } from './commit.ts'
import type { ChunkContext } from './context.ts'

export type TaskFunction = (input: unknown, ctx: unknown) => unknown

/** What is needed to run a chunk's tasks; made when its turn comes. */
export interface ChunkSetup {
  readonly fn: TaskFunction
  readonly limits: ResolvedTaskOptions
  readonly inputs: readonly unknown[]
  readonly context: ChunkContext
  readonly combine: FinishedChunk['combine']
}

/** A chunk while a thread runs it: what came of each task. */
export class ChunkRun implements FinishedChunk {
  readonly header: ChunkHeader
  readonly payload: Uint8Array
  readonly hash: number
  readonly fn: TaskFunction
  readonly limits: ResolvedTaskOptions
  readonly inputs: readonly unknown[]
  readonly context: ChunkContext
  readonly combine: FinishedChunk['combine']
  readonly results: unknown[] = []
  readonly ends = new Map<number, TaskEnd>()
  /** How many tasks were taken, from the first. */
  done = 0
  /** How many of them are in progress. */
  pending = 0
  /** Called when none is in progress any more. */
  whenQuiet: (() => void) | undefined
  /** How long its asynchronous tasks took, in sum. */
  pendingMs = 0
  /** How long its synchronous tasks took, with reading their inputs. */
  elapsedMs = 0
  /** Tasks not to start, by index. */
  readonly skip: ReadonlySet<number> | undefined

  constructor(chunk: Chunk, setup: ChunkSetup, skip: ReadonlySet<number> | undefined) {
    this.header = chunk.header
    this.payload = chunk.payload
    this.hash = partHash(chunk.header)
    this.fn = setup.fn
    this.limits = setup.limits
    this.inputs = setup.inputs
    this.context = setup.context
    this.combine = setup.combine
    this.skip = skip
  }

  succeed(offset: number, value: unknown): void {
    this.results[offset] = value
  }

  fail(offset: number, error: unknown): void {
    this.#end(offset, endOf('TASK_FAILED', error, this.header.attempt, this.limits))
  }

  timeOut(offset: number): void {
    this.#end(offset, endOf('TASK_TIMEOUT', this.timedOut(offset), this.header.attempt, this.limits))
  }

  cancel(offset: number): void {
    this.#end(offset, { kind: 'failure', code: 'TASK_CANCELLED', error: describeFailure(this.cancelled(offset)) })
  }

  timedOut(offset: number): TaskTimeoutError {
    return timeoutError(this.header, this.header.first + offset, this.context.worker, this.limits.timeoutMs ?? 0)
  }

  cancelled(offset: number): TaskCancelledError {
    return cancelError(this.header, this.header.first + offset, this.context.worker)
  }

  #end(offset: number, end: TaskEnd): void {
    this.results[offset] = undefined
    this.ends.set(offset, end)
  }
}

/** The first `done` tasks of a chunk failed without being started. */
export function failedChunk(chunk: Chunk, done: number, code: FailureCode, error: unknown): FinishedChunk {
  const end: TaskEnd = { kind: 'failure', code, error: describeFailure(error) }
  const ends = new Map(Array.from({ length: done }, (_, offset) => [offset, end]))
  return { header: chunk.header, payload: chunk.payload, done, results: [], ends }
}

/** None of a chunk's tasks was started: all of them go back. */
export function untouchedChunk(chunk: Chunk): FinishedChunk {
  return { header: chunk.header, payload: chunk.payload, done: 0, results: [], ends: new Map() }
}

/** Whether a task that failed in this attempt is run again, and when. */
export function endOf(
  code: 'TASK_FAILED' | 'TASK_TIMEOUT',
  error: unknown,
  attempt: number,
  limits: ResolvedTaskOptions,
): TaskEnd {
  if (attempt > limits.retries) return { kind: 'failure', code, error: describeFailure(error) }
  const delayMs = jitteredBackoffMs(attempt, { firstMs: limits.backoffMs, mostMs: limits.maxBackoffMs })
  return { kind: 'retry', delayMs }
}

export function timeoutError(header: ChunkHeader, index: number, worker: string, timeoutMs: number): TaskTimeoutError {
  const { task, job, attempt } = header
  const error = new TaskTimeoutError(
    `The task ${JSON.stringify(task)} ${job}/${index} ran longer than its timeoutMs of ${timeoutMs} ms. Give it more time, or less to do.`,
    { task, jobId: job, index, attempt, worker },
  )
  error.stack = `${error.name}: ${error.message}`
  return error
}

export function cancelError(header: ChunkHeader, index: number, worker: string): TaskCancelledError {
  const { task, job, attempt } = header
  const error = new TaskCancelledError(`The task ${JSON.stringify(task)} ${job}/${index} was cancelled while it ran.`, {
    task,
    jobId: job,
    index,
    attempt,
    worker,
  })
  error.stack = `${error.name}: ${error.message}`
  return error
}
