import { submittedChunk } from '../protocol/chunk.ts'
import { jitteredBackoffMs } from '../runtime/backoff.ts'
import { isTransient, outcomeUnknown, refusalInWords, refusesWrites } from '../store/reply-error.ts'
import type { LaneStore } from '../store/lane-store.ts'
import { isDamage, mostDamages } from '../store/mend.ts'
import { redisRefused } from './job-errors.ts'
import type { Batch, Outbox } from './outbox.ts'
import type { Coverage } from './coverage.ts'
import { driverLeaseMs } from './part.ts'
import type { PaceOfJob } from './packing.ts'
import type { Part } from './part.ts'

/** What a submitter asks and tells the job. */
export interface SubmitterHost {
  readonly part: Part
  readonly store: LaneStore
  readonly outbox: Outbox
  readonly coverage: Pick<Coverage, 'gaps'>
  /** Whether all inputs that the job is to have are in the outbox. */
  inputsComplete(): boolean
  readonly pace: PaceOfJob
  /** Something was accepted: there may be room for more. */
  progressed(): void
  /** Redis refused or lost something: find out how the part stands, then call `resume`. */
  recover(): void
  /** The job can't go on, and what is left of it is to go. */
  abort(error: unknown): void
}

/** Calls under way at once: enough to hide the way there and back. */
const mostInFlight = 4
const batchLimits = { chunks: 64, bytes: 1024 * 1024 }

/**
 * Sends what is in the outbox, in cursor order, several calls at a time over one connection. When one is refused, those
 * behind it find themselves out of step and insert nothing; it stops, and goes on from the true cursor.
 */
export class Submitter {
  readonly #host: SubmitterHost
  #inFlight = 0
  #halted = false
  #stopped = false
  #created: boolean
  #acknowledged: number
  #completeSent = false
  #refusals = 0
  #timer: NodeJS.Timeout | undefined
  /** Whether Redis knows that all inputs are submitted. */
  completed = false
  /** Why nothing is submitted at the moment, in words. */
  waitingFor: string | undefined

  constructor(host: SubmitterHost, known?: { readonly submitted: number; readonly complete: boolean }) {
    this.#host = host
    this.#created = known !== undefined
    this.#acknowledged = known?.submitted ?? 0
    this.#completeSent = this.completed = known?.complete ?? false
  }

  /** How many tasks Redis has acknowledged. */
  get acknowledged(): number {
    return this.#acknowledged
  }

  /** Whether the part was ever seen in Redis. */
  get created(): boolean {
    return this.#created
  }

  get idle(): boolean {
    return this.#inFlight === 0
  }

  /** Sends as much as may be under way. */
  send(): void {
    const { outbox, coverage } = this.#host
    while (!this.#halted && !this.#stopped && this.#inFlight < mostInFlight) {
      // The creating call goes alone: until it is answered nothing else can be in step.
      if (!this.#created && this.#inFlight > 0) return
      const batch = outbox.next(coverage, batchLimits) ?? this.#lastWord()
      if (batch === undefined) return
      this.#submit(batch).catch((error: unknown) => {
        this.#host.abort(error)
      })
    }
  }

  /** Sends nothing until `resume`; `recover` is called when nothing is under way any more. */
  halt(): void {
    if (this.#halted || this.#stopped) return
    this.#halted = true
    if (this.#inFlight === 0) this.#host.recover()
  }

  /** Goes on from the cursor that Redis has; `created`: whether it has the part at all. */
  resume(stand: { readonly submitted: number; readonly complete: boolean; readonly created: boolean }): void {
    this.#created = stand.created
    this.#acknowledged = stand.submitted
    this.#completeSent = this.completed = stand.complete
    this.#host.outbox.rewind(stand.submitted)
    this.#halted = false
    this.send()
    this.#host.progressed()
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  /** The call that only says that there will be no more. */
  #lastWord(): Batch | undefined {
    const { cursor } = this.#host.outbox
    return this.#host.inputsComplete() && !this.#completeSent
      ? { from: cursor, to: cursor, windows: [], skipped: 0, taskless: 0 }
      : undefined
  }

  async #submit(batch: Batch): Promise<void> {
    const { part, store, outbox } = this.#host
    const complete = this.#host.inputsComplete() && batch.to === outbox.end
    if (complete) this.#completeSent = true
    this.#inFlight++
    const { flags, incarnation } = part
    const chunks = batch.windows.map(({ payload, ...window }) =>
      submittedChunk(
        {
          ...window,
          job: part.job,
          incarnation,
          attempt: 1,
          deaths: 0,
          kind: part.fields.kind === 'range' ? 'range' : 'pack',
          flags,
          task: part.fields.task,
        },
        payload,
      ),
    )
    const { measured, expected } = this.#host.pace
    const create = this.#created ? undefined : { ...part.fields, attaches: part.attaches, pace: measured || expected }
    try {
      const reply = await store.parts.submit(part, {
        ...batch,
        complete,
        elements: chunks.map(({ element }) => element),
        held: chunks.flatMap(chunk => chunk.held ?? []),
        driverLeaseMs,
        create,
        shared: part.shared,
      })
      this.#inFlight--
      if (reply.word === 'submitted') this.#accepted(batch.to, complete)
      else this.halt()
    } catch (error) {
      this.#inFlight--
      this.#refused(error)
    }
    if (this.#halted && this.#inFlight === 0 && !this.#stopped && this.#timer === undefined) this.#host.recover()
    else this.send()
    this.#host.progressed()
  }

  #accepted(to: number, complete: boolean): void {
    this.#created = true
    this.#refusals = 0
    this.waitingFor = undefined
    this.#acknowledged = Math.max(this.#acknowledged, to)
    if (complete) this.completed = true
  }

  #refused(error: unknown): void {
    if (this.#stopped) return
    if (refusesWrites(error) || isTransient(error)) {
      this.waitingFor = refusesWrites(error) ? refusalInWords(error) : 'Redis to be ready: it is loading, or busy'
      this.#halted = true
      this.#refusals++
      this.#timer ??= setTimeout(
        () => {
          this.#timer = undefined
          if (this.#inFlight === 0) this.#host.recover()
        },
        jitteredBackoffMs(this.#refusals, { firstMs: 50, mostMs: 2000 }),
      )
    } else if (outcomeUnknown(error)) {
      this.#halted = true
    } else if (isDamage(error) && this.#refusals < mostDamages) {
      // The store has cleared it away; how far the call came is found out like after a lost reply.
      this.#refusals++
      this.#halted = true
    } else {
      this.#host.abort(redisRefused(error))
    }
  }
}
