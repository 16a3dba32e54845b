import type { Service } from '../runtime/service.ts'
import { partHash } from './board.ts'
import type { Board, BoardView, Window } from './board.ts'
import { headerOf } from './thread-death.ts'
import type { ThreadHandle, Verdict } from './thread-handle.ts'

/** A job, or one task of it, whose running tasks are to stop. */
export interface Cancellation {
  readonly job: string
  readonly incarnation: string
  readonly index: number | undefined
  readonly atMs: number
}

export interface WatchdogOptions {
  readonly threads: () => readonly ThreadHandle[]
  readonly clock: () => number
  /** A thread is to be ended. */
  readonly end: (thread: ThreadHandle, verdict: Verdict) => void
  /** What a busy thread has not touched was taken from it after `ranMs`: the tail of what it runs, or what it claimed ahead. */
  readonly handBack: (thread: ThreadHandle, claim: string, from: Window, ranMs: number) => void
}

/** What the watchdog remembers of a thread between two looks. */
export interface Sighting {
  readonly batch: number
  readonly task: number
  /** Since when this batch is seen. */
  readonly batchSinceMs: number
  /** Since when this task is seen on the stack. */
  readonly taskSinceMs: number
  /** Since when the loop is seen past its deadline; Infinity when it is not. */
  readonly loopLateSinceMs: number
}

/** How long the loop of a thread that runs nothing is seen not to turn. */
interface Standstill {
  readonly turns: number
  /** In looks, not in time: while the process was stopped, nobody looked. */
  readonly looks: number
}

const tickMs = 25
/** What runs longer than this gives its untouched tail to others. */
const slowMs = 50
/** What was claimed ahead goes to others too, when the batch before it takes so many times what was expected of it. */
const overdue = 1.5
/** How long a cancelled task may go on before its thread is ended. */
const cancelGraceMs = 500
/** The loop of a thread that is past a task's time limit may have been busy with another for a moment. */
const loopGraceMs = 250
/** What a task left behind when its outcome was settled may keep the loop for so long before it costs the thread. */
const standstillMs = 30_000
const keptCancellationMs = 30_000
const mostCancellations = 1000

/**
 * Looks at the threads' boards and ends or relieves those that don't go on. It reads shared memory only, so it works
 * while user code spins, and while Redis is away.
 */
export class Watchdog implements Service {
  readonly #options: WatchdogOptions
  readonly #sightings = new WeakMap<ThreadHandle, Sighting>()
  readonly #standstills = new WeakMap<ThreadHandle, Standstill>()
  #cancellations: Cancellation[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(options: WatchdogOptions) {
    this.#options = options
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#look()
    }, tickMs)
  }

  stop(): Promise<void> {
    clearInterval(this.#timer)
    return Promise.resolve()
  }

  cancel(job: string, incarnation: string, index: number | undefined): void {
    this.#cancellations.push({ job, incarnation, index, atMs: this.#options.clock() })
    if (this.#cancellations.length > mostCancellations) this.#cancellations.shift()
  }

  #look(): void {
    const nowMs = this.#options.clock()
    if (this.#cancellations.length > 0) {
      this.#cancellations = this.#cancellations.filter(({ atMs }) => nowMs - atMs < keptCancellationMs)
    }
    for (const thread of this.#options.threads()) {
      if (thread.verdict !== undefined) continue
      const view = thread.board.look()
      const sighting = sight(this.#sightings.get(thread), view, thread.board.loopDeadlineMs, nowMs)
      this.#sightings.set(thread, sighting)
      const verdict =
        judge(view, sighting, nowMs) ??
        this.#judgeCancelled(thread.board, view, sighting, nowMs) ??
        this.#judgeStandstill(thread)
      if (verdict !== undefined) this.#options.end(thread, verdict)
      else if (view.slot !== undefined && nowMs - sighting.batchSinceMs > slowMs)
        this.#relieve(thread, view, nowMs - sighting.batchSinceMs)
    }
  }

  #judgeCancelled(board: Board, view: BoardView, sighting: Sighting, nowMs: number): Verdict | undefined {
    if (this.#cancellations.length === 0) return undefined
    const due = this.#cancellations.filter(({ atMs }) => nowMs - atMs > cancelGraceMs)
    if (due.length === 0) return undefined
    if (view.task >= 0) {
      const shown =
        view.slot === undefined || nowMs - sighting.taskSinceMs <= cancelGraceMs ? undefined : board.shownChunk()
      const header = shown && headerOf(shown.line)
      if (header === undefined || shown === undefined) return undefined
      const index = header.first + view.task - shown.offset
      const isDue = due.some(
        cancel =>
          cancel.job === header.job && cancel.incarnation === header.incarnation && (cancel.index ?? index) === index,
      )
      return isDue ? { kind: 'cancel', batch: view.batch, task: view.task } : undefined
    }
    if (view.task !== -1) {
      // A chunk that is read, or handed in by a reducer that does not end: only the end of its whole job concerns it.
      const { partHash: part } = board.whole
      const isDue =
        nowMs - sighting.taskSinceMs > cancelGraceMs &&
        due.some(cancel => cancel.index === undefined && partHash(cancel) === part)
      return isDue ? { kind: 'cancel', batch: view.batch, task: view.task } : undefined
    }
    // A thread whose loop turns has settled its cancelled tasks by now.
    const pending = board.pending()
    const stuck = pending.some(task =>
      due.some(cancel => partHash(cancel) === task.partHash && (cancel.index ?? task.index) === task.index),
    )
    return stuck ? { kind: 'cancel', batch: view.batch, task: -1 } : undefined
  }

  /**
   * A task that was timed out or cancelled, or a timer that it left, may compute on when nothing of it is waited for any more.
   * The thread then looks as if it waited for work, and would be given some that it never begins.
   */
  #judgeStandstill(thread: ThreadHandle): Verdict | undefined {
    const { board } = thread
    const { turns } = board
    const known = this.#standstills.get(thread)
    const looks = known?.turns === turns && turns > 0 && board.isFree ? known.looks + 1 : 0
    this.#standstills.set(thread, { turns, looks })
    return looks * tickMs > standstillMs ? { kind: 'standstill' } : undefined
  }

  /**
   * Lets others have what this thread has not touched: the rest of what it runs, and, when that will not begin soon or
   * another thread here has nothing to do, what it claimed ahead. A batch whose inputs are still on their way stays: the next
   * thread would wait for them as long, and so on for ever.
   */
  #relieve(thread: ThreadHandle, { slot: running, expectedMs }: BoardView, ranMs: number): void {
    const { isPreparing } = thread.board
    const isOverdue = !isPreparing && ranMs > expectedMs * overdue
    for (const slot of [0, 1] as const) {
      if (slot === running ? isPreparing : !isOverdue && !this.#options.threads().some(isIdle)) continue
      const claim = thread.board.claim(slot)
      const window = thread.board.lower(slot)
      // Another claim by now: whatever was lowered, the thread itself hands back what it then can't run.
      if (window === undefined || thread.board.claim(slot) !== claim) continue
      this.#options.handBack(thread, claim, slot === running ? window : { cursor: 0, limit: 0 }, ranMs)
    }
  }
}

/** Whether the thread runs nothing, and so waits for work. */
export function isIdle({ board }: ThreadHandle): boolean {
  return board.look().slot === undefined
}

/** What is known after this look. */
export function sight(
  previous: Sighting | undefined,
  view: BoardView,
  loopDeadlineMs: number,
  nowMs: number,
): Sighting {
  const sameBatch = previous?.batch === view.batch
  const sameTask = sameBatch && previous.task === view.task
  const isLate = view.task === -1 && nowMs > loopDeadlineMs + loopGraceMs
  return {
    batch: view.batch,
    task: view.task,
    batchSinceMs: sameBatch ? previous.batchSinceMs : nowMs,
    taskSinceMs: sameTask ? previous.taskSinceMs : nowMs,
    loopLateSinceMs: !isLate ? Infinity : sameTask ? Math.min(previous.loopLateSinceMs, nowMs) : nowMs,
  }
}

/** Whether the thread is past a time limit. One look is not enough: the task may end right now. */
export function judge(view: BoardView, sighting: Sighting, nowMs: number): Verdict | undefined {
  const { batch, task, timeoutMs } = view
  const overtime = task >= 0 && timeoutMs > 0 && nowMs - sighting.taskSinceMs > timeoutMs
  const stopped = nowMs - sighting.loopLateSinceMs >= 2 * tickMs
  return overtime || stopped ? { kind: 'timeout', batch, task } : undefined
}
