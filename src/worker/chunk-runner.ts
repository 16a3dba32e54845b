import { setImmediate as turn } from 'node:timers/promises'
import type { TaskModule } from '../code/load.ts'
import { MalformedDataError, UnknownTaskError } from '../errors.ts'
import type { ChunkHeader } from '../protocol/chunk.ts'
import { inputsOf } from '../protocol/inputs.ts'
import { outcomeUnknown } from '../store/reply-error.ts'
import type { Batch, ClaimedChunk } from './batch.ts'
import { maxPending, partHash } from './board.ts'
import type { Board, Slot } from './board.ts'
import type { Broadcasts } from './broadcasts.ts'
import { CancelledTasks } from './cancelled-tasks.ts'
import { ChunkRun, failedChunk, untouchedChunk } from './chunk-run.ts'
import type { TaskFunction } from './chunk-run.ts'
import type { FinishedChunk } from './commit.ts'
import { RunningTask } from './context.ts'
import type { JobExtrasCache } from './job-extras.ts'
import { Pace } from './pace.ts'
import type { PendingTasks } from './pending-tasks.ts'

export interface ChunkRunnerOptions {
  readonly module: TaskModule
  /** This thread, as `host:pid/thread`. */
  readonly worker: string
  readonly board: Board
  readonly pending: PendingTasks
  readonly extras: JobExtrasCache
  readonly broadcasts: Broadcasts
  readonly writeLine: (line: string) => void
  /** Handles the messages that wait, without a turn of the event loop. */
  readonly readMessages: () => void
  /** ms, for measuring. */
  readonly clock: () => number
}

/** How a task function was seen to run. */
interface Speed {
  readonly pace: Pace
  async: boolean
}

/** Tasks are taken from the board in blocks of about this long: what is taken can't be given to others any more. */
const blockNs = 20_000
const mostBlock = 64
/** How long synchronous tasks run before the messages of the main thread are looked at. */
const breathMs = 10

/** Runs one chunk after the other: takes its tasks from the board and executes them, with broadcasts in between. */
export class ChunkRunner {
  readonly #options: ChunkRunnerOptions
  readonly #board: Board
  readonly #pending: PendingTasks
  readonly #cancelled = new CancelledTasks()
  readonly #speeds = new Map<string, Speed>()
  /** What is being run from the board right now. */
  #front: { readonly run: ChunkRun; readonly slot: Slot } | undefined
  #concurrency = 1
  #breathedMs = 0
  /** When the front chunk had all that it needs. */
  #startedMs = 0

  constructor(options: ChunkRunnerOptions) {
    this.#options = options
    this.#board = options.board
    this.#pending = options.pending
  }

  /** How many asynchronous tasks there may be before nothing more is claimed. */
  get concurrency(): number {
    return this.#concurrency
  }

  /** Whether a chunk is being run from the board right now. */
  get isRunning(): boolean {
    return this.#front !== undefined
  }

  /** Undefined until a chunk with the task has begun. */
  speedOf(task: string): Readonly<Speed> | undefined {
    return this.#speeds.get(task)
  }

  /** Gives the pace that follows from it, in ns a task. */
  addSample(task: string, elapsedMs: number, tasks: number): number {
    const { pace } = this.#speedFor(task)
    pace.add(elapsedMs * 1e6, tasks)
    return pace.ns
  }

  /** Runs a chunk whose first task stands at `offset` in the window of its batch. */
  async run(chunk: ClaimedChunk, batch: Batch, offset: number): Promise<FinishedChunk> {
    const { job, incarnation, count } = chunk.header
    if (this.#cancelled.has(job, incarnation)) return untouchedChunk(chunk)
    this.#board.showChunk(chunk.line, offset, this.#options.module.tasks.get(chunk.header.task)?.options.timeoutMs ?? 0)
    let run: ChunkRun
    this.#board.isPreparing = true
    try {
      run = await this.#prepare(chunk, batch)
    } catch (error) {
      // A connection that broke says nothing about the tasks.
      if (!(error instanceof MalformedDataError) && !(error instanceof UnknownTaskError)) {
        if (!outcomeUnknown(error))
          this.#options.writeLine(`a chunk of job ${job} goes back: ${(error as Error).message}`)
        return untouchedChunk(chunk)
      }
      const taken = this.#board.take(batch.slot, count) < 0 ? 0 : this.#board.taken
      return failedChunk(chunk, taken, error.code, error)
    } finally {
      this.#board.isPreparing = false
    }
    this.#front = { run, slot: batch.slot }
    await this.#runTasks(run, batch.slot, offset)
    return run
  }

  /** The batch has no more chunks to run. */
  leave(): void {
    this.#front = undefined
    this.#board.enter(-1)
  }

  /** Cancels a whole job, or one of its tasks: in progress, on the board, or to come. */
  cancel(job: string, incarnation: string, index: number | undefined): void {
    this.#cancelled.add(job, incarnation, index)
    this.#pending.cancel(job, incarnation, index)
    const front = this.#front
    if (index === undefined && front?.run.header.job === job && front.run.header.incarnation === incarnation) {
      this.#board.lower(front.slot)
    }
  }

  async #prepare(chunk: ClaimedChunk, batch: Batch): Promise<ChunkRun> {
    const { module, extras, worker, writeLine } = this.#options
    const { header } = chunk
    const task = module.tasks.get(header.task)
    if (task === undefined) {
      throw new UnknownTaskError(
        `This worker's task module exports no task ${JSON.stringify(header.task)}, although its code is the one that the job names. Export the task from the module itself.`,
      )
    }
    const { shared, reducer } = await extras.of(header, batch.claim.lane)
    const payload = chunk.held === undefined ? chunk.payload : await chunk.held
    if (payload === null) throw new Error('its payload is not in Redis any more')
    this.#startedMs = this.#options.clock()
    return new ChunkRun(
      chunk,
      {
        fn: task.fn as TaskFunction,
        limits: task.options,
        inputs: this.#read(header, payload),
        context: {
          jobId: header.job,
          first: header.first,
          attempt: header.attempt,
          worker,
          shared,
          task: header.task,
          writeLine,
        },
        combine: reducer === '' ? undefined : module.reducers.get(reducer)?.fn,
      },
      this.#cancelled.indexes(header.job, header.incarnation),
    )
  }

  #read(header: ChunkHeader, payload: Uint8Array): readonly unknown[] {
    this.#board.enterReading(partHash(header))
    try {
      return inputsOf(header, payload)
    } finally {
      this.#board.enter(-1)
    }
  }

  async #runTasks(run: ChunkRun, slot: Slot, offset: number): Promise<void> {
    const board = this.#board
    const speed = this.#speedFor(run.header.task)
    const end = offset + run.header.count
    const room = run.header.deaths > 0 ? 1 : Math.min(run.limits.concurrency, maxPending)
    let next = offset
    while (next < end) {
      if (this.#pending.count >= room) await this.#waitForRoom(room)
      const from = board.take(slot, Math.min(blockOf(speed, run.limits), end - next))
      if (from < 0) break
      next = from + board.taken
      run.done = next - offset
      let at = this.#execute(run, offset, from, next)
      while (at < next) {
        if (this.#pending.count >= room) await this.#waitForRoom(room)
        at = this.#execute(run, offset, at, next)
      }
      if (run.pending > 0 || run.pendingMs > 0) speed.async = true
      const nowMs = this.#options.clock()
      if (nowMs - this.#breathedMs > breathMs) {
        this.#breathedMs = nowMs
        if (speed.async) await turn()
        else this.#options.readMessages()
        this.#options.broadcasts.run()
      }
    }
    run.elapsedMs = this.#options.clock() - this.#startedMs
    if (speed.async) this.#concurrency = room
  }

  /** Runs tasks one after the other, up to the first that returns a promise. Gives the window index to go on from. */
  #execute(run: ChunkRun, offset: number, from: number, to: number): number {
    const board = this.#board
    const { fn, inputs, results, context, skip, header } = run
    const isTimed = run.limits.timeoutMs !== undefined
    for (let i = from; i < to; i++) {
      const at = i - offset
      if (skip?.has(header.first + at) === true) {
        run.cancel(at)
        continue
      }
      const task = new RunningTask(context, at)
      const startedMs = isTimed ? this.#options.clock() : undefined
      board.enter(i)
      try {
        const value = fn(inputs[at], task)
        if (isThenable(value)) {
          results[at] = undefined
          this.#pending.add(run, at, task, value, startedMs)
          board.enter(-1)
          return i + 1
        }
        results[at] = value
      } catch (error) {
        run.fail(at, error)
      }
    }
    board.enter(-1)
    return to
  }

  async #waitForRoom(room: number): Promise<void> {
    while (this.#pending.count >= room) {
      await this.#pending.change()
      this.#options.broadcasts.run()
    }
  }

  #speedFor(task: string): Speed {
    let speed = this.#speeds.get(task)
    if (speed === undefined) {
      speed = { pace: new Pace(), async: false }
      this.#speeds.set(task, speed)
    }
    return speed
  }
}

function blockOf(speed: Speed, { timeoutMs }: { timeoutMs: number | undefined }): number {
  if (speed.async || speed.pace.ns === 0 || timeoutMs !== undefined) return 1
  return Math.max(1, Math.min(mostBlock, Math.floor(blockNs / speed.pace.ns)))
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  if ((typeof value !== 'object' || value === null) && typeof value !== 'function') return false
  return typeof (value as { then?: unknown }).then === 'function'
}
