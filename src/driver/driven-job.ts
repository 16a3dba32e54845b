import { ConnectionClosedError, InputsIncompleteError } from '../errors.ts'
import { encodeRangePayload } from '../protocol/chunk.ts'
import type { PartRecord } from '../protocol/records.ts'
import type { JobMessage, ResultsMessage } from '../protocol/run.ts'
import type { LaneStore } from '../store/lane-store.ts'
import { Assembler } from './assembler.ts'
import type { Arrival } from './assembler.ts'
import { Collector } from './collector.ts'
import { Delivery } from './delivery.ts'
import { endedPart } from './drop-part.ts'
import type { Ended } from './drop-part.ts'
import { nothingToFeed } from './feeder.ts'
import type { Feeder } from './feeder.ts'
import { cancelledElsewhere, collectorReplaced, jobCancelled } from './job-errors.ts'
import { Outbox } from './outbox.ts'
import type { PaceOfJob } from './packing.ts'
import type { Paces } from './paces.ts'
import type { Part } from './part.ts'
import { Reconciler } from './reconciler.ts'
import { Releaser } from './releaser.ts'
import { Submitter } from './submitter.ts'
import { windowRoom } from './window.ts'

/** What a driven job needs of the connection. */
export interface JobHost {
  readonly paces: Paces
  /** Messages of the job's part go to this job from now on. */
  adopt(job: DrivenJob): void
  disown(job: DrivenJob): void
  /** Deletes an ended job's keys when there is time. */
  dropSoon(ended: Ended): void
  /** Deletes them now; in any case again should that fail, or should Redis come back with them. */
  drop(ended: Ended): Promise<'dropped' | 'gone' | 'replaced' | 'unknown'>
}

/** How a job comes about. */
export interface JobPlan {
  readonly part: Part
  /** The lane that it lives on. */
  readonly store: LaneStore
  /** Whether the user chose its id: such a job outlives Ctrl-C and `close`. */
  readonly named: boolean
  /** The part's record, when it was there before. */
  readonly record?: PartRecord | undefined
}

/** Payloads of a detached job that are kept in case Redis loses them. */
const mostDetachedBytes = 256 * 1024 * 1024

/**
 * One job that this driver submits and collects: brings together what feeds, submits, collects, delivers, releases, and
 * compares with Redis. It ends once: finished, failed, or cancelled.
 */
export class DrivenJob {
  readonly id: string
  readonly part: Part
  readonly named: boolean
  readonly record: PartRecord | undefined
  readonly store: LaneStore
  readonly outbox: Outbox
  readonly assembler: Assembler
  readonly collector: Collector
  readonly submitter: Submitter
  readonly releaser: Releaser
  readonly reconciler: Reconciler
  readonly delivery: Delivery
  readonly #host: JobHost
  readonly #expectedNs: number
  #feeder: Feeder | undefined
  #over = false
  #error: Error | undefined
  #submittedWaiters: { resolve: () => void; reject: (error: Error) => void }[] = []
  readonly #endListeners: (() => void)[] = []

  constructor(host: JobHost, plan: JobPlan) {
    const { part, record } = plan
    this.#host = host
    this.id = part.job
    this.part = part
    this.#expectedNs = host.paces.of(part.fields)
    this.named = plan.named
    this.record = record
    this.store = plan.store
    const cursor = record?.cursor ?? 0
    const releasedBefore = Math.max(0, (record?.released ?? 0) - cursor)
    this.outbox = record === undefined ? new Outbox() : outboxOf(record)
    this.assembler = new Assembler(cursor)
    this.collector = new Collector(this, releasedBefore)
    this.submitter = new Submitter(this, record)
    this.releaser = new Releaser(this, cursor)
    this.reconciler = new Reconciler(this)
    this.delivery = new Delivery(this, cursor + releasedBefore)
    host.adopt(this)
  }

  // Life --------------------------------------------------------------------------------------------------------------

  /** Starts to submit, or to collect what an earlier driver submitted. */
  begin(feeder: Feeder): void {
    if (this.#over) {
      feeder.stop()
      return
    }
    this.#feeder = feeder
    feeder.run().catch((error: unknown) => {
      this.abort(error)
    })
    if (this.record !== undefined) {
      this.collector.expect(this.record.settled)
      this.collector.scan()
      // Whoever has attached since the record was read has told a job that was not there yet.
      this.reconciler.reconcile()
      if (this.submitter.completed) this.progressed()
    }
  }

  /** Calls back when the job ends, in whichever way. */
  onEnd(listener: () => void): void {
    if (this.#over) listener()
    else this.#endListeners.push(listener)
  }

  get over(): boolean {
    return this.#over
  }

  /** What ended it, unless it went well. */
  get error(): Error | undefined {
    return this.#error
  }

  /** Why Redis does not take what this driver, or the workers, have for it, in words. */
  get waitingFor(): string | undefined {
    return this.submitter.waitingFor ?? this.reconciler.refusal
  }

  /** Whether the driver's lease keeps it running. */
  get leased(): boolean {
    return this.submitter.created && !(this.part.fields.detached && this.submitter.completed)
  }

  /**
   * All is collected and used. A job whose id the user knows is gone from Redis before that shows: the id may be
   * used again at once.
   *
   * @throws {CollectorReplacedError} for such a job when another driver has it: this one was frozen, and its results are the other's.
   */
  async finish(error?: Error): Promise<void> {
    if (this.#over) return
    this.#end(error)
    const ended = endedPart(this.store, this.part, { running: false })
    if (!this.named) this.#host.dropSoon(ended)
    else if ((await this.#host.drop(ended)) === 'replaced') throw collectorReplaced(this.id)
  }

  /** Ends for the consumer; what is in Redis stays as it is. */
  fail(error: unknown): void {
    this.#end(error instanceof Error ? error : new MillraceUnknownError(error))
  }

  /** Ends because of what the user did or gave, and takes the rest out of Redis. */
  abort(error: unknown): void {
    if (this.#over) return
    this.fail(error)
    this.#takeOut().catch(() => undefined)
  }

  async cancel(error: Error = jobCancelled(this.id)): Promise<void> {
    if (this.#over) return
    this.fail(error)
    await this.#takeOut()
  }

  /** One task is not to run, or to stop: it gets this outcome, unless it is further already. */
  async cancelTask(index: number, failure: Buffer): Promise<void> {
    if (this.#over) return
    const { job, incarnation } = this.part
    if ((await this.store.parts.cancelTask(this.part, index, failure)) === 'cancelled') return
    await this.store.publishControl({ type: 'cancel', job, incarnation, index })
  }

  /** Its consumer ends with an error: the rest is cancelled, unless the job is not this driver's any more, or stays for the next. */
  async endWith(error: unknown): Promise<void> {
    if (this.#over) return
    if (error instanceof InputsIncompleteError) await this.finish(error)
    else {
      this.fail(error)
      await this.#takeOut()
    }
  }

  /** The connection closes: a job that nobody can attach to is cancelled, others are left. */
  async close(): Promise<void> {
    if (this.#over) return
    const stays = this.named || this.part.fields.detached || this.record !== undefined
    this.fail(
      new ConnectionClosedError(
        `The connection was closed before the job ${this.id} had ended.${stays ? ' It can be attached to.' : ''}`,
      ),
    )
    if (!stays) await this.#takeOut()
  }

  #end(error: Error | undefined): void {
    if (this.#over) return
    this.#over = true
    this.#error = error
    this.#host.paces.note(this.part.fields, this.collector.paceNs)
    this.#feeder?.stop()
    this.submitter.stop()
    this.collector.stop()
    this.releaser.stop()
    this.#host.disown(this)
    for (const { resolve, reject } of this.#submittedWaiters.splice(0)) {
      if (error === undefined) resolve()
      else reject(error)
    }
    this.delivery.wake()
    for (const listener of this.#endListeners.splice(0)) listener()
  }

  async #takeOut(): Promise<void> {
    await this.#host.drop(endedPart(this.store, this.part, { running: true }))
  }

  submitted(): Promise<void> {
    if (this.submitter.completed) return Promise.resolve()
    return new Promise((resolve, reject) => {
      if (this.#error !== undefined) reject(this.#error)
      else this.#submittedWaiters.push({ resolve, reject })
    })
  }

  // What the parts ask and tell ------------------------------------------------------------------------------------------

  get coverage(): Assembler['coverage'] {
    return this.assembler.coverage
  }

  get tasks(): number {
    return this.outbox.end
  }

  room(): number {
    const { bytes } = this.outbox
    if (this.part.fields.detached) return Infinity
    const { meanResultBytes } = this.collector
    return windowRoom({
      tasks: this.outbox.end - this.delivery.handed,
      inputBytes: bytes,
      resultBytes: meanResultBytes,
    })
  }

  get pace(): PaceOfJob {
    return { measured: this.collector.paceNs, expected: this.#expectedNs }
  }

  send(): void {
    this.submitter.send()
  }

  nudge(): void {
    this.#feeder?.nudge()
  }

  lost(): void {
    this.reconciler.lost()
  }

  clashed(run?: Arrival): void {
    this.reconciler.clashed(run)
  }

  recover(): void {
    this.reconciler.recover()
  }

  reconcile(): void {
    this.reconciler.reconcile()
  }

  /** What a former driver did not submit will never come. */
  inputsComplete(): boolean {
    const abandoned = this.#feeder === nothingToFeed && this.record?.complete === false
    return this.inputsEnded && !abandoned
  }

  get inputsEnded(): boolean {
    return this.#feeder?.ended ?? false
  }

  progressed(): void {
    if (this.part.fields.detached) this.outbox.forgetOldest(mostDetachedBytes, this.submitter.acknowledged)
    if (this.submitter.completed) {
      for (const { resolve } of this.#submittedWaiters.splice(0)) resolve()
      // The inputs may have ended when all results were in: then nothing else tells the consumer.
      this.delivery.wake()
    }
    this.#feeder?.nudge()
  }

  keepsResults(): boolean {
    return this.delivery.begun || !this.part.fields.detached
  }

  arrived(run: Arrival): void {
    if (run.bytes !== undefined) this.outbox.collected(run.first, run.first + run.count, this.assembler.secured)
    this.delivery.wake()
  }

  onMessage(message: ResultsMessage | JobMessage): void {
    if (message.incarnation !== this.part.incarnation) return
    this.reconciler.heard()
    if (message.type === 'results') this.collector.onResults(message)
    else if (message.type === 'replaced') this.replaced()
    else this.fail(cancelledElsewhere(this.id))
  }

  replaced(): void {
    this.fail(collectorReplaced(this.id))
  }
}

/** What an earlier driver submitted is not here, but for a range, whose inputs can be made again. */
function outboxOf(record: PartRecord): Outbox {
  if (record.kind === 'list') return new Outbox(record.submitted)
  const outbox = new Outbox(record.cursor)
  if (record.submitted > record.cursor) outbox.push(record.submitted - record.cursor, encodeRangePayload(record))
  outbox.rewind(record.submitted)
  return outbox
}

/** Something that is no Error was thrown by what the user gave. */
class MillraceUnknownError extends Error {
  constructor(cause: unknown) {
    super('Something that is not an Error was thrown while inputs were pulled.', { cause })
  }
}
