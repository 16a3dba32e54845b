import { TaskCancelledError } from '../errors.ts'
import { describeFailure } from '../protocol/failure.ts'
import { randomName } from '../protocol/names.ts'
import { encodeOutcome } from '../protocol/outcome.ts'
import { isReady } from '../store/client.ts'
import { CallFeeder } from './call-feeder.ts'
import { errorOf, valuesOf } from './consume.ts'
import type { ReadPiece } from './delivery.ts'
import type { DrivenJob } from './driven-job.ts'
import { SubmittedAt } from './errors-from-wire.ts'
import { alreadyUsed } from './job-errors.ts'
import { OpenCalls } from './open-calls.ts'
import { openJob } from './opening.ts'
import type { Opening, OpeningContext } from './opening.ts'

/** A public method. */
export type Entry = (...args: never[]) => unknown

/** What calls have in common that become one job. */
export interface CallKind {
  readonly task: string
  readonly priority: number
  /** With an id of its own a call is a job of its own. */
  readonly id: string | undefined
}

/** When a job takes no more calls: 'turn', the calls of one turn are all it has; 'idle', when none have come for a while. */
export type Until = 'turn' | 'idle'

/** After so many calls another job takes over, since workers remember the cancelled tasks of a job one by one. */
const mostCalls = 65_536
/** In a queue of several lanes sooner, so that calls spread over them. */
const mostCallsOnLane = 1024
/** A job that goes on from turn to turn closes when it has had no call for so long. */
const idleMs = 1000
const keepMs = 24 * 60 * 60 * 1000

/** Calls of one task that are one job, from when it opens until each has an outcome. */
export class CallJob {
  readonly id: string
  readonly opening: Opening
  readonly #context: OpeningContext
  readonly #kind: CallKind
  readonly #until: Until
  readonly #onClose: () => void
  readonly #open = new OpenCalls()
  readonly #feeder: CallFeeder
  #job: DrivenJob | undefined
  #submittedAt: SubmittedAt | undefined
  #closed = false

  /** `onClose`: it takes no more calls. */
  constructor(context: OpeningContext, kind: CallKind, until: Until, onClose: () => void) {
    this.id = kind.id ?? randomName(10)
    this.#context = context
    this.#kind = kind
    this.#until = until
    this.#onClose = onClose
    this.#feeder = new CallFeeder(this.#open, (index, error) => {
      const call = this.#open.take(index)
      call?.reject(call.submittedAt.locate(error))
      this.#endIfDone()
    })
    // Before the opening goes on at the end of the turn, so that what is packed then is all there will be.
    if (until === 'turn') setImmediate(() => this.close())
    else this.#closeWhenIdle(0)
    this.opening = openJob(context, {
      id: this.id,
      named: kind.id !== undefined,
      task: kind.task,
      priority: kind.priority,
      detached: false,
      keepMs,
      shared: undefined,
      inputs: this.#feeder,
      reducer: () => '',
    })
    this.#collect().catch((error: unknown) => {
      // Who is rejected may call again at once, which is for another job.
      this.close()
      for (const call of this.#open.takeAll()) call.reject(call.submittedAt.locate(error))
    })
  }

  /** Whether the next turn's calls can go here: not when enough have, when the fleet may have other code by now, or its lane is away. */
  get takesMore(): boolean {
    const { fleet, lanes } = this.#context.link
    const isOnly = lanes.numbers.length === 1
    const job = this.#job
    if (this.#closed || this.#open.added >= (isOnly ? mostCalls : mostCallsOnLane)) return false
    if (job === undefined) return true
    return fleet.matched.get(this.#kind.task) === job.part.hash && (isOnly || isReady(job.store.client))
  }

  /** How many calls it has taken: the index of the next. */
  get taken(): number {
    return this.#open.added
  }

  /** Resolves with the result. `entry`: the public method, where the user's trace begins. */
  call(input: unknown, entry: Entry, signal: AbortSignal | undefined): Promise<unknown> {
    const index = this.#open.added
    // Calls of one turn share a trace: making one takes longer than all else that is done here.
    if (this.#submittedAt === undefined || !this.#feeder.hasCallsOfTurn) this.#submittedAt = new SubmittedAt(entry)
    const submittedAt = this.#submittedAt
    const result = new Promise((resolve, reject) => {
      this.#open.add({ input, submittedAt, resolve, reject })
    })
    this.#feeder.add()
    if (signal !== undefined) cancelOn(signal, result, () => this.cancel(index))
    return result
  }

  /** Rejects the call, and keeps its task from running on. */
  async cancel(index: number): Promise<void> {
    const call = this.#open.take(index)
    if (call === undefined) return
    const { task } = this.#kind
    const message = `The task ${JSON.stringify(task)} (${this.id}/${index}) was cancelled before it had a result.`
    const error = new TaskCancelledError(message, { task, jobId: this.id, index, attempt: 0, worker: '' })
    call.reject(error)
    // The last one takes the job with it.
    if (this.#isDone) await this.opening.cancel()
    else if (this.#feeder.hasPacked(index)) {
      const job = await this.opening.opened
      const failure = { code: 'TASK_CANCELLED', attempt: 1, worker: '', error: describeFailure(error) } as const
      await job.cancelTask(index, encodeOutcome(failure))
    }
  }

  /** No more calls: it ends once those there are have an outcome. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#feeder.close()
    this.#onClose()
    this.#endIfDone()
  }

  /** @throws what the calls that have no outcome yet are to be rejected with. */
  async #collect(): Promise<void> {
    const job = (this.#job = await this.opening.opened)
    try {
      const { delivery } = job
      // The results of a job that shows its id stay until all are there, for whoever attaches.
      delivery.begin({ stream: this.#until === 'idle', ordered: false })
      for (let piece = await delivery.next(); piece !== undefined; piece = await delivery.next()) {
        // The id of a named call is free again before its result shows.
        if (job.named) await job.finish()
        this.#settle(job, piece)
        delivery.used(piece, false)
        this.#endIfDone()
      }
      // With an id that was there: what is left of its results was used before.
      for (const call of this.#open.takeAll()) call.reject(call.submittedAt.locate(alreadyUsed(this.id)))
      await job.finish()
    } catch (error) {
      await job.endWith(error)
      throw error
    }
  }

  #settle(job: DrivenJob, piece: ReadPiece): void {
    if (piece.run.kind === 'failure') {
      const call = this.#open.take(piece.first)
      call?.reject(errorOf(job, piece, call.submittedAt))
      return
    }
    for (const [i, value] of valuesOf(piece).entries()) this.#open.take(piece.first + i)?.resolve(value)
  }

  get #isDone(): boolean {
    return this.#closed && this.#open.size === 0
  }

  #endIfDone(): void {
    if (!this.#isDone) return
    const ending = this.#job === undefined ? this.opening.cancel() : this.#job.finish()
    ending.catch(() => undefined)
  }

  /** A look now and then costs the calls nothing. */
  #closeWhenIdle(takenBefore: number): void {
    const timer = setTimeout(() => {
      if (this.#closed) return
      if (this.#open.size === 0 && this.#open.added === takenBefore) this.close()
      else this.#closeWhenIdle(this.#open.added)
    }, idleMs)
    timer.unref()
  }
}

/** Cancels a call when the signal aborts, if it has no result by then. */
function cancelOn(signal: AbortSignal, result: Promise<unknown>, cancel: () => Promise<void>): void {
  const onAbort = () => {
    cancel().catch(() => undefined)
  }
  signal.addEventListener('abort', onAbort, { once: true })
  const done = () => {
    signal.removeEventListener('abort', onAbort)
  }
  result.then(done, done)
}
