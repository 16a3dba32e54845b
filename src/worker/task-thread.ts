import { setImmediate as turn } from 'node:timers/promises'
import type { TaskModule } from '../code/load.ts'
import { MalformedDataError, UnknownTaskError } from '../errors.ts'
import { outcomeUnknown } from '../store/reply-error.ts'
import { maxPending } from './board.ts'
import type { Board, Slot } from './board.ts'
import type { Broadcasts } from './broadcasts.ts'
import { CancelledTasks } from './cancelled-tasks.ts'
import { ChunkRun, failedChunk, untouchedChunk } from './chunk-run.ts'
import type { TaskFunction } from './chunk-run.ts'
import type { ClaimIds } from './claim-ids.ts'
import type { FinishedChunk } from './commit.ts'
import type { Committer } from './committer.ts'
import { RunningTask } from './context.ts'
import type { Batch, ClaimedChunk, Feed } from './feed.ts'
import { inputsOf } from '../protocol/inputs.ts'
import type { JobExtrasCache } from './job-extras.ts'
import type { ToThread } from './messages.ts'
import { Pace } from './pace.ts'
import type { PendingTasks } from './pending-tasks.ts'

export interface TaskThreadOptions {
  readonly module: TaskModule
  /** This thread, as `host:pid/thread`. */
  readonly worker: string
  readonly board: Board
  readonly ids: ClaimIds
  readonly feed: Feed
  readonly committer: Committer
  readonly pending: PendingTasks
  readonly extras: JobExtrasCache
  readonly broadcasts: Broadcasts
  /** The queue has these lanes now. */
  readonly onLanes: (lanes: readonly number[]) => void
  /** The suspect that this thread ran is settled. */
  readonly leaveSuspects: () => void
  readonly writeLine: (line: string) => void
  /** Handles the messages that wait, without a turn of the event loop. */
  readonly readMessages: () => void
  /** ms, for measuring. */
  readonly clock: () => number
}

/** A batch that is expected to take longer than this is run without claiming the next one meanwhile: the way there and back is short against it. */
const aheadMs = 250
/** One that came to a waiting thread and is expected to take less is not worth a look for more before its results are on their way. */
const briefMs = 0.5
/** Tasks are taken from the board in blocks of about this long: what is taken can't be given to others any more. */
const blockNs = 20_000
const mostBlock = 64
/** How long synchronous tasks run before the messages of the main thread are looked at. */
const breathMs = 10
/** While asynchronous tasks run and there is room for more, how often to look for work. */
const pollMs = 100

/** The loop of a thread: claim, run, hand in. */
export class TaskThread {
  readonly #options: TaskThreadOptions
  readonly #board: Board
  readonly #pending: PendingTasks
  readonly #cancelled = new CancelledTasks()
  readonly #speeds = new Map<string, { readonly pace: Pace; async: boolean }>()
  readonly #finishing = new Set<Promise<void>>()
  #ahead: Promise<Batch | undefined> | undefined
  #slot: Slot = 0
  /** What is being run from the board right now. */
  #front: { readonly run: ChunkRun; readonly slot: Slot; readonly offset: number } | undefined
  /** How many asynchronous tasks there may be before nothing more is claimed. */
  #concurrency = 1
  #draining = false
  #breathedMs = 0
  /** When the front chunk had all that it needs. */
  #startedMs = 0

  constructor(options: TaskThreadOptions) {
    this.#options = options
    this.#board = options.board
    this.#pending = options.pending
  }

  /** Resolves when the thread was told to drain and has handed in, or left to the main thread, all that it held. */
  async run(): Promise<void> {
    const { ids, committer } = this.#options
    while (!this.#draining) {
      const batch = await this.#next()
      if (batch !== undefined) await this.#runBatch(batch)
    }
    const ahead = await this.#ahead
    if (ahead !== undefined) ids.abandon(ahead.claim, false)
    while (this.#finishing.size > 0) await Promise.race(this.#finishing)
    await committer.idle()
    ids.renew()
  }

  receive(message: ToThread): void {
    switch (message.type) {
      case 'registered':
        this.#options.ids.register(message.worker, message.lane)
        // A wait under the old name is one of a worker that is dead to the others.
        this.#options.feed.look()
        break
      case 'lanes':
        this.#options.onLanes(message.lanes)
        break
      case 'work':
        this.#pending.wake()
        if (message.look) this.#options.feed.wake(message.lane)
        break
      case 'look':
        this.#options.feed.look()
        break
      case 'cancel':
        this.#cancel(message.job, message.incarnation, message.index)
        break
      case 'shared':
        this.#options.extras.receive(message.job, message.incarnation, message.bytes)
        break
      case 'broadcast':
        this.#options.broadcasts.add(message)
        // In the middle of a chunk they wait for the end of the task.
        if (this.#front === undefined) this.#options.broadcasts.run()
        else this.#pending.wake()
        break
      case 'drain':
        this.#draining = true
        this.#board.lower(0)
        this.#board.lower(1)
        this.#pending.wake()
        this.#options.feed.stop().catch(() => undefined)
        break
    }
  }

  #cancel(job: string, incarnation: string, index: number | undefined): void {
    this.#cancelled.add(job, incarnation, index)
    this.#pending.cancel(job, incarnation, index)
    const front = this.#front
    if (index === undefined && front?.run.header.job === job && front.run.header.incarnation === incarnation) {
      this.#board.lower(front.slot)
    }
  }

  async #next(): Promise<Batch | undefined> {
    const { feed, committer } = this.#options
    const ahead = this.#ahead
    if (ahead !== undefined) {
      this.#ahead = undefined
      const batch = await ahead
      if (batch !== undefined && !this.#board.isRevoked(batch.slot)) return batch
      if (batch !== undefined) this.#drop(batch)
    }
    if (this.#draining) return undefined
    const slot = this.#slot === 0 ? 1 : 0
    if (this.#pending.count === 0) {
      await Promise.all(this.#finishing)
      return feed.claimWaiting(slot, committer.inLine)
    }
    if (this.#pending.count >= this.#concurrency) {
      await this.#pending.change()
      return undefined
    }
    const batch = await feed.claim(slot, this.#pending.count)
    if (batch === undefined && this.#pending.count > 0) await this.#changeOrPoll()
    return batch
  }

  /** The main thread has revoked it while it waited, and hands it back. */
  #drop(batch: Batch): void {
    if (batch.suspect) this.#options.leaveSuspects()
    this.#board.close(batch.slot)
    this.#options.ids.abandon(batch.claim, false)
  }

  async #changeOrPoll(): Promise<void> {
    const timer = setTimeout(() => {
      this.#pending.wake()
    }, pollMs)
    await this.#pending.change()
    clearTimeout(timer)
  }

  // Running -------------------------------------------------------------------------------------------------------------

  async #runBatch(batch: Batch): Promise<void> {
    this.#slot = batch.slot
    const expectedMs = this.#expectedMs(batch)
    this.#board.begin(batch.slot, expectedMs)
    this.#claimAhead(batch, expectedMs)
    const finished: FinishedChunk[] = []
    let offset = 0
    let stopped = false
    for (const chunk of batch.chunks) {
      const result: FinishedChunk = stopped ? untouchedChunk(chunk) : await this.#runChunk(chunk, batch, offset)
      finished.push(result)
      offset += chunk.header.count
      stopped ||= result.done < chunk.header.count
    }
    this.#front = undefined
    this.#board.enter(-1)
    this.#board.close(batch.slot)
    this.#options.broadcasts.run()
    await this.#finish(batch, finished)
    // Replies are read, and messages seen, at least between two batches.
    await turn()
  }

  /**
   * Lets the next batch travel while this one runs. Never beside a suspect, nor when this one will take long; nor when
   * it is a brief one that came to a waiting thread, whose driver waits for it more likely than there is another.
   */
  #claimAhead(batch: Batch, expectedMs: number): void {
    if (this.#ahead !== undefined || batch.suspect || this.#draining || this.#pending.count > 0) return
    const speed = this.#speeds.get(batch.chunks[0]!.header.task)
    if (speed === undefined || speed.async) return
    if (expectedMs > aheadMs || (batch.awaited && expectedMs < briefMs)) return
    this.#ahead = this.#options.feed.claim(batch.slot === 0 ? 1 : 0, batch.chunks.length)
  }

  /** 0 where nothing is known. */
  #expectedMs({ chunks, tasks }: Batch): number {
    return ((this.#speeds.get(chunks[0]!.header.task)?.pace.ns ?? 0) * tasks) / 1e6
  }

  async #runChunk(chunk: ClaimedChunk, batch: Batch, offset: number): Promise<FinishedChunk> {
    const { job, incarnation, count } = chunk.header
    if (this.#cancelled.has(job, incarnation)) return untouchedChunk(chunk)
    let run: ChunkRun
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
    }
    this.#front = { run, slot: batch.slot, offset }
    await this.#runTasks(run, batch.slot, offset)
    return run
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
        inputs: inputsOf(header, payload),
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

  async #runTasks(run: ChunkRun, slot: Slot, offset: number): Promise<void> {
    const board = this.#board
    const speed = this.#speedOf(run.header.task)
    const end = offset + run.header.count
    const room = run.header.deaths > 0 ? 1 : Math.min(run.limits.concurrency, maxPending)
    this.#show()
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
        this.#runBroadcasts()
      }
    }
    run.elapsedMs = this.#options.clock() - this.#startedMs
    if (speed.async) this.#concurrency = room
  }

  /** Runs tasks one after the other, up to the first that returns a promise. Gives the window index to go on from. */
  #execute(run: ChunkRun, offset: number, from: number, to: number): number {
    const board = this.#board
    const { fn, inputs, results, context, skip, header } = run
    for (let i = from; i < to; i++) {
      const at = i - offset
      if (skip?.has(header.first + at) === true) {
        run.cancel(at)
        continue
      }
      const task = new RunningTask(context, at)
      board.enter(i)
      try {
        const value = fn(inputs[at], task)
        if (isThenable(value)) {
          results[at] = undefined
          this.#pending.add(run, at, task, value)
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
      this.#runBroadcasts()
    }
  }

  #runBroadcasts(): void {
    if (!this.#options.broadcasts.run() || this.#front === undefined) return
    this.#board.begin(this.#front.slot)
    this.#show()
  }

  #show(): void {
    if (this.#front === undefined) return
    const { run, offset } = this.#front
    this.#board.showChunk(run.line, offset, run.limits.timeoutMs ?? 0)
  }

  // Handing in ----------------------------------------------------------------------------------------------------------

  async #finish(batch: Batch, finished: readonly FinishedChunk[]): Promise<void> {
    const running = finished.filter(chunk => chunk instanceof ChunkRun).filter(run => run.pending > 0)
    if (running.length === 0) return this.#handIn(batch, finished)
    const finishing = Promise.all(running.map(whenQuiet))
      .then(() => this.#handIn(batch, finished))
      .then(() => {
        this.#finishing.delete(finishing)
      })
    this.#finishing.add(finishing)
  }

  #handIn(batch: Batch, finished: readonly FinishedChunk[]): Promise<void> {
    const runs = finished.filter(chunk => chunk instanceof ChunkRun)
    const tasks = runs.reduce((sum, { done }) => sum + done, 0)
    // A task that waits is worth a claim of its own, however many wait at a time.
    const elapsedMs = runs.reduce((sum, run) => sum + (run.pendingMs > 0 ? run.pendingMs : run.elapsedMs), 0)
    let paceNs = 0
    if (tasks > 0) {
      const { pace } = this.#speedOf(runs[0]!.header.task)
      pace.add(elapsedMs * 1e6, tasks)
      paceNs = pace.ns
    }
    const sent = this.#options.committer.send(batch, finished, paceNs)
    return batch.suspect ? sent.then(this.#options.leaveSuspects) : sent
  }

  #speedOf(task: string) {
    let speed = this.#speeds.get(task)
    if (speed === undefined) {
      speed = { pace: new Pace(), async: false }
      this.#speeds.set(task, speed)
    }
    return speed
  }
}

function blockOf(
  speed: { readonly pace: Pace; readonly async: boolean },
  { timeoutMs }: { timeoutMs: number | undefined },
): number {
  if (speed.async || speed.pace.ns === 0 || timeoutMs !== undefined) return 1
  return Math.max(1, Math.min(mostBlock, Math.floor(blockNs / speed.pace.ns)))
}

function whenQuiet(run: ChunkRun): Promise<void> {
  return new Promise(resolve => {
    run.whenQuiet = resolve
  })
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  if ((typeof value !== 'object' || value === null) && typeof value !== 'function') return false
  return typeof (value as { then?: unknown }).then === 'function'
}
