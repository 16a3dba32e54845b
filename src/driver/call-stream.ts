import { TaskCancelledError } from '../errors.ts'
import { describeFailure } from '../protocol/failure.ts'
import { randomName } from '../protocol/names.ts'
import { encodeOutcome } from '../protocol/outcome.ts'
import { CallFeeder } from './call-feeder.ts'
import type { Call } from './call-feeder.ts'
import { errorOf, valuesOf } from './consume.ts'
import type { ReadPiece } from './delivery.ts'
import type { DrivenJob } from './driven-job.ts'
import { SubmittedAt } from './errors-from-wire.ts'
import { isReady } from '../store/client.ts'
import { openJob } from './opening.ts'
import type { Opening, OpeningContext } from './opening.ts'

/** A public method. */
export type Entry = (...args: never[]) => unknown

/** After so many calls another job takes over, since workers remember the cancelled tasks of a job one by one. */
const mostCalls = 65_536
/** In a queue of several lanes sooner, so that calls spread over them. */
const mostCallsOnLane = 1024
/** A stream that has had no call for so long is dropped. */
const idleMs = 1000
const keepMs = 24 * 60 * 60 * 1000

/**
 * The calls of `run` for one task, as one job that goes on from call to call: making a job for each would take longer than
 * a short task. Its id is shown to nobody, so nobody can attach to a single call.
 */
export class CallStream {
  readonly id = randomName(10)
  readonly opening: Opening
  readonly #context: OpeningContext
  readonly #task: string
  readonly #feeder: CallFeeder
  /** The calls that have an index and no outcome. */
  readonly #sent = new Map<number, Call>()
  readonly #onEnd: () => void
  #job: DrivenJob | undefined
  #submittedAt: SubmittedAt | undefined
  #taken = 0
  #retired = false

  /** `onEnd`: it takes no more calls. */
  constructor(context: OpeningContext, task: string, priority: number, onEnd: () => void) {
    this.#context = context
    this.#task = task
    this.#onEnd = onEnd
    this.#feeder = new CallFeeder(
      (call, index) => {
        call.index = index
        this.#sent.set(index, call)
      },
      (call, error) => {
        call.reject(call.submittedAt.locate(error))
      },
    )
    this.opening = openJob(context, {
      id: this.id,
      named: false,
      task,
      priority,
      detached: false,
      keepMs,
      shared: undefined,
      inputs: this.#feeder,
      reducer: () => '',
    })
    this.#collect().catch((error: unknown) => {
      this.#retire()
      for (const call of [...this.#sent.values(), ...this.#feeder.waiting]) call.reject(call.submittedAt.locate(error))
    })
    this.#endWhenIdle(0)
  }

  /** Whether the next call can go here: not when enough have, when the fleet may have other code by now, or its lane is away. */
  get takesCalls(): boolean {
    const { fleet, lanes } = this.#context.link
    const isOnly = lanes.numbers.length === 1
    const job = this.#job
    if (this.#retired || this.#taken >= (isOnly ? mostCalls : mostCallsOnLane)) return false
    if (job === undefined) return true
    return fleet.matched.get(this.#task) === job.part.hash && (isOnly || isReady(job.store.client))
  }

  /** Resolves with the result. `entry`: the public method, where the user's trace begins. */
  run(input: unknown, entry: Entry, signal: AbortSignal | undefined): Promise<unknown> {
    this.#taken++
    // Calls of one turn share a trace: making one takes longer than all else that is done here.
    if (this.#submittedAt === undefined || !this.#feeder.hasCallsOfTurn) this.#submittedAt = new SubmittedAt(entry)
    const submittedAt = this.#submittedAt
    let call: Call
    const result = new Promise((resolve, reject) => {
      call = { input, submittedAt, resolve, reject, index: undefined }
      this.#feeder.add(call)
    })
    if (signal !== undefined) cancelOn(signal, result, () => this.#cancel(call))
    return result
  }

  /** No more calls; it goes once those there are have an outcome. */
  retire(): void {
    this.#retire()
    this.#endIfDone()
  }

  /** Rejects the call, and keeps its task from running on. */
  async #cancel(call: Call): Promise<void> {
    const { index } = call
    const isOpen = index === undefined ? this.#feeder.remove(call) : this.#sent.delete(index)
    if (!isOpen) return
    const task = this.#task
    const message = `The task ${JSON.stringify(task)} was cancelled before it had a result.`
    const error = new TaskCancelledError(message, { task, jobId: this.id, index: index ?? 0, attempt: 0, worker: '' })
    call.reject(error)
    if (index === undefined) return
    const job = await this.opening.opened
    const failure = { code: 'TASK_CANCELLED', attempt: 1, worker: '', error: describeFailure(error) } as const
    await job.cancelTask(index, encodeOutcome(failure))
  }

  /** @throws what the calls that have no outcome yet are to be rejected with. */
  async #collect(): Promise<void> {
    const job = (this.#job = await this.opening.opened)
    try {
      const { delivery } = job
      delivery.begin({ stream: true, ordered: false })
      for (let piece = await delivery.next(); piece !== undefined; piece = await delivery.next()) {
        this.#settle(job, piece)
        delivery.used(piece, false)
        if (this.#retired) this.#endIfDone()
      }
    } catch (error) {
      await job.endWith(error)
      throw error
    }
  }

  #settle(job: DrivenJob, piece: ReadPiece): void {
    if (piece.run.kind === 'failure') {
      const call = this.#take(piece.first)
      call?.reject(errorOf(job, piece, call.submittedAt))
      return
    }
    for (const [i, value] of valuesOf(piece).entries()) this.#take(piece.first + i)?.resolve(value)
  }

  #take(index: number): Call | undefined {
    const call = this.#sent.get(index)
    if (call !== undefined) this.#sent.delete(index)
    return call
  }

  #retire(): void {
    if (this.#retired) return
    this.#retired = true
    this.#onEnd()
  }

  get #isDone(): boolean {
    return this.#sent.size === 0 && this.#feeder.waiting.size === 0
  }

  #endIfDone(): void {
    if (!this.#isDone) return
    const ending = this.#job === undefined ? this.opening.cancel() : this.#job.finish()
    ending.catch(() => undefined)
  }

  /** A look now and then costs the calls nothing. */
  #endWhenIdle(takenBefore: number): void {
    const timer = setTimeout(() => {
      if (this.#retired) return
      if (this.#isDone && this.#taken === takenBefore) this.retire()
      else this.#endWhenIdle(this.#taken)
    }, idleMs)
    timer.unref()
  }
}

/** Cancels a call when the signal aborts, if it has no result by then. */
export function cancelOn(signal: AbortSignal, result: Promise<unknown>, cancel: () => Promise<void>): void {
  const onAbort = () => {
    cancel().catch(() => undefined)
  }
  signal.addEventListener('abort', onAbort, { once: true })
  const done = () => {
    signal.removeEventListener('abort', onAbort)
  }
  result.then(done, done)
}
