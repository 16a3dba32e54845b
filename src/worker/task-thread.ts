import { setImmediate as turn } from 'node:timers/promises'
import type { Batch } from './batch.ts'
import type { Board, Slot } from './board.ts'
import { ChunkRun, untouchedChunk } from './chunk-run.ts'
import { ChunkRunner } from './chunk-runner.ts'
import type { ChunkRunnerOptions } from './chunk-runner.ts'
import type { ClaimIds } from './claim-ids.ts'
import type { FinishedChunk } from './commit.ts'
import type { Committer } from './committer.ts'
import type { Feed } from './feed.ts'
import type { ToThread } from './messages.ts'
import type { PendingTasks } from './pending-tasks.ts'

export interface TaskThreadOptions extends ChunkRunnerOptions {
  readonly ids: ClaimIds
  readonly feed: Feed
  readonly committer: Committer
  /** The queue has these lanes now. */
  readonly onLanes: (lanes: readonly number[]) => void
  /** The suspect that this thread ran is settled. */
  readonly leaveSuspects: () => void
}

/** A batch that is expected to take longer than this is run without claiming the next one meanwhile: the way there and back is short against it. */
const aheadMs = 250
/** One that came to a waiting thread and is expected to take less is not worth a look for more before its results are on their way. */
const briefMs = 0.5
/** While asynchronous tasks run and there is room for more, how often to look for work. */
const pollMs = 100

/** The loop of a thread: claim, run, hand in. */
export class TaskThread {
  readonly #options: TaskThreadOptions
  readonly #board: Board
  readonly #pending: PendingTasks
  readonly #runner: ChunkRunner
  readonly #finishing = new Set<Promise<void>>()
  #ahead: Promise<Batch | undefined> | undefined
  #slot: Slot = 0
  #draining = false

  constructor(options: TaskThreadOptions) {
    this.#options = options
    this.#board = options.board
    this.#pending = options.pending
    this.#runner = new ChunkRunner(options)
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
        this.#runner.cancel(message.job, message.incarnation, message.index)
        break
      case 'shared':
        this.#options.extras.receive(message.job, message.incarnation, message.bytes)
        break
      case 'broadcast':
        this.#options.broadcasts.add(message)
        // In the middle of a chunk they wait for the end of the task.
        if (this.#runner.isRunning) this.#pending.wake()
        else this.#options.broadcasts.run()
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

  async #next(): Promise<Batch | undefined> {
    const { feed } = this.#options
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
      return this.#wait()
    }
    if (this.#pending.count >= this.#runner.concurrency) {
      await this.#pending.change()
      return undefined
    }
    const batch = await feed.claim(slot, { holding: this.#pending.count, defers: false })
    if (batch === undefined && this.#pending.count > 0) await this.#changeOrPoll()
    return batch
  }

  /** Whether it holds nothing that is not on its way back. */
  get #isFree(): boolean {
    return this.#pending.count === 0 && this.#finishing.size === 0
  }

  #wait(): Promise<Batch | undefined> {
    const { feed, committer } = this.#options
    return feed.claimWaiting(this.#slot === 0 ? 1 : 0, committer.inLine)
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
      const result: FinishedChunk = stopped ? untouchedChunk(chunk) : await this.#runner.run(chunk, batch, offset)
      finished.push(result)
      offset += chunk.header.count
      stopped ||= result.done < chunk.header.count
    }
    this.#runner.leave()
    this.#board.close(batch.slot)
    this.#options.broadcasts.run()
    await this.#finish(batch, finished)
    // Right behind the commit, so that Redis reads both at once.
    if (!this.#draining && this.#ahead === undefined && this.#isFree) this.#ahead = this.#wait()
    // Replies are read, and messages seen, at least between two batches.
    await turn()
  }

  /**
   * Lets the next batch travel while this one runs. Never beside a suspect, nor when this one will take long; nor when
   * it is a brief one that came to a waiting thread, whose driver waits for it more likely than there is another.
   */
  #claimAhead(batch: Batch, expectedMs: number): void {
    if (this.#ahead !== undefined || batch.suspect || this.#draining || this.#pending.count > 0) return
    const speed = this.#runner.speedOf(batch.chunks[0]!.header.task)
    if (speed === undefined || speed.async) return
    if (expectedMs > aheadMs || (batch.awaited && expectedMs < briefMs)) return
    const hands = { holding: batch.chunks.length, defers: true }
    this.#ahead = this.#options.feed.claim(batch.slot === 0 ? 1 : 0, hands)
  }

  /** 0 where nothing is known. */
  #expectedMs({ chunks, tasks }: Batch): number {
    return ((this.#runner.speedOf(chunks[0]!.header.task)?.pace.ns ?? 0) * tasks) / 1e6
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
    const paceNs = tasks > 0 ? this.#runner.addSample(runs[0]!.header.task, elapsedMs, tasks) : 0
    const { committer, leaveSuspects } = this.#options
    const sent = committer.send(batch, finished, paceNs)
    // Until that is answered it may come back, and be alone in a claim when another suspect takes the process down.
    return batch.suspect ? committer.inLine.then(leaveSuspects) : sent
  }
}

function whenQuiet(run: ChunkRun): Promise<void> {
  return new Promise(resolve => {
    run.whenQuiet = resolve
  })
}
