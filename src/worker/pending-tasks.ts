import { maxPending } from './board.ts'
import type { Board } from './board.ts'
import type { ChunkRun } from './chunk-run.ts'
import type { RunningTask } from './context.ts'

/** A task that returned a promise and has not settled. */
interface Pending {
  readonly run: ChunkRun
  readonly offset: number
  readonly task: RunningTask
  readonly place: number
  readonly startedMs: number
  readonly deadlineMs: number
  timer: NodeJS.Timeout | undefined
}

/** The asynchronous tasks in progress in this thread, with their time limits. */
export class PendingTasks {
  readonly #board: Board
  readonly #clock: () => number
  readonly #all = new Set<Pending>()
  readonly #places = Array.from({ length: maxPending }, (_, place) => maxPending - 1 - place)
  #wakers: (() => void)[] = []

  constructor(board: Board, clock: () => number) {
    this.#board = board
    this.#clock = clock
  }

  get count(): number {
    return this.#all.size
  }

  /** Takes over a task whose code began at `startedMs` and returned `promise`. There must be a place: `count` is below `maxPending`. */
  add(
    run: ChunkRun,
    offset: number,
    task: RunningTask,
    promise: PromiseLike<unknown>,
    startedMs = this.#clock(),
  ): void {
    const place = this.#places.pop()
    if (place === undefined) throw new Error('more tasks in progress than the board has places for')
    const { timeoutMs } = run.limits
    const deadlineMs = timeoutMs === undefined ? Infinity : startedMs + timeoutMs
    const pending: Pending = { run, offset, task, place, startedMs, deadlineMs, timer: undefined }
    run.pending++
    this.#all.add(pending)
    this.#board.addPending(place, run.hash, run.header.first + offset)
    if (timeoutMs !== undefined) {
      // What it computed before it waited counts.
      pending.timer = setTimeout(
        () => {
          this.#timeOut(pending)
        },
        Math.max(0, deadlineMs - this.#clock()),
      )
      this.#showDeadline()
    }
    // `then` itself may throw, or call both ways, or twice: Promise.resolve makes a proper promise of it.
    Promise.resolve(promise).then(
      value => {
        if (this.#settle(pending)) run.succeed(offset, value)
      },
      (error: unknown) => {
        if (this.#settle(pending)) run.fail(offset, error)
      },
    )
  }

  /** Aborts and settles the tasks of a cancelled job, or one of them. */
  cancel(job: string, incarnation: string, index: number | undefined): void {
    for (const pending of [...this.#all]) {
      const { run, offset, task } = pending
      const { header } = run
      if (header.job !== job || header.incarnation !== incarnation) continue
      if (index !== undefined && header.first + offset !== index) continue
      if (!this.#settle(pending)) continue
      run.cancel(offset)
      task.abort(run.cancelled(offset))
    }
  }

  /** Resolves when a task has settled or `wake` was called. */
  async change(): Promise<void> {
    await new Promise<void>(resolve => this.#wakers.push(resolve))
  }

  wake(): void {
    if (this.#wakers.length === 0) return
    for (const waker of this.#wakers.splice(0)) waker()
  }

  #timeOut(pending: Pending): void {
    const { run, offset, task } = pending
    if (!this.#settle(pending)) return
    run.timeOut(offset)
    task.abort(run.timedOut(offset))
  }

  /** False when it was settled before, by its time limit or a cancellation. */
  #settle(pending: Pending): boolean {
    if (!this.#all.delete(pending)) return false
    clearTimeout(pending.timer)
    this.#board.removePending(pending.place)
    this.#places.push(pending.place)
    if (pending.deadlineMs !== Infinity) this.#showDeadline()
    const { run } = pending
    run.pending--
    run.pendingMs += this.#clock() - pending.startedMs
    // After the caller has stored the outcome.
    queueMicrotask(() => {
      if (run.pending === 0) run.whenQuiet?.()
      this.wake()
    })
    return true
  }

  /** The main thread ends this thread when the earliest deadline passes without its timer having run. */
  #showDeadline(): void {
    let earliestMs = Infinity
    for (const { deadlineMs } of this.#all) if (deadlineMs < earliestMs) earliestMs = deadlineMs
    this.#board.loopDeadlineMs = earliestMs
  }
}
