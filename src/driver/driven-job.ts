import { CollectorReplacedError, ConnectionClosedError, InputsIncompleteError } from '../errors.ts'
import { encodeRangePayload } from '../protocol/chunk.ts'
import type { PartCounters, PartRecord } from '../protocol/records.ts'
import type { JobMessage, ResultsMessage } from '../protocol/run.ts'
import { jitteredBackoffMs } from '../runtime/backoff.ts'
import type { LaneStore } from '../store/lane-store.ts'
import { refusalInWords, refusesWrites } from '../store/reply-error.ts'
import { Assembler } from './assembler.ts'
import type { Arrival, Piece } from './assembler.ts'
import { Collector } from './collector.ts'
import { nothingToFeed } from './feeder.ts'
import { LostTasks } from './lost-tasks.ts'
import type { Feeder } from './feeder.ts'
import { cancelledElsewhere, collectorReplaced, inputsIncomplete, jobCancelled, tasksLost } from './job-errors.ts'
import { isSound, judge } from './judge.ts'
import type { Belief, Verdict } from './judge.ts'
import { Outbox } from './outbox.ts'
import { driverLeaseMs } from './part.ts'
import type { Part } from './part.ts'
import { Releaser } from './releaser.ts'
import { Signal } from './signal.ts'
import { Submitter } from './submitter.ts'
import { windowRoom } from './window.ts'

/** What a driven job needs of the connection. */
export interface JobHost {
  /** Messages of the job's part go to this job from now on. */
  adopt(job: DrivenJob): void
  disown(job: DrivenJob): void
  /** Deletes an ended job's keys when there is time. */
  dropLater(store: LaneStore, part: Part): void
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

/** A piece with what it takes to decode it. */
export interface ReadPiece extends Piece {
  readonly bytes: Buffer
}

/** Payloads of a detached job that are kept in case Redis loses them. */
const mostDetachedBytes = 256 * 1024 * 1024
/** A job that hears nothing for so long looks for itself. */
const quietMs = 1500

/**
 * One job that this driver submits and collects: brings together what feeds, submits, collects and releases, and compares
 * with Redis whenever something may have been missed. Redis may at any time have less than it had; then what is not
 * yet collected is submitted anew. It ends once: finished, failed, or cancelled.
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
  readonly #host: JobHost
  readonly #search: LostTasks
  #feeder: Feeder | undefined
  #streams = false
  #consumed = false
  #handed: number
  #over = false
  #error: Error | undefined
  readonly #news = new Signal()
  #submittedWaiters: { resolve: () => void; reject: (error: Error) => void }[] = []
  /** Why Redis takes no writes, workers' commits among them, as the last look found it. */
  refusal: string | undefined
  #recovering = false
  #mustRestart = false
  #lastNewsAt = performance.now()
  readonly #endListeners: (() => void)[] = []

  constructor(host: JobHost, plan: JobPlan) {
    const { part, record } = plan
    this.#host = host
    this.id = part.job
    this.part = part
    this.named = plan.named
    this.record = record
    this.store = plan.store
    const cursor = record?.cursor ?? 0
    const releasedBefore = Math.max(0, (record?.released ?? 0) - cursor)
    this.#handed = cursor + releasedBefore
    this.outbox = record === undefined ? new Outbox() : outboxOf(record)
    this.assembler = new Assembler(cursor)
    this.collector = new Collector(this, releasedBefore)
    this.submitter = new Submitter(this, record)
    this.releaser = new Releaser(this)
    this.#search = new LostTasks(this)
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

  /** Why Redis does not take what this driver, or the workers, have for it, in words. */
  get waitingFor(): string | undefined {
    return this.submitter.waitingFor ?? this.refusal
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
    if (!this.named || !(await this.#dropAsOwn())) this.#host.dropLater(this.store, this.part)
  }

  /** False when it could not be done now. @throws {CollectorReplacedError} when another driver has the job, and its results. */
  async #dropAsOwn(): Promise<boolean> {
    try {
      const word = await this.store.parts.drop(this.part)
      if (word !== 'replaced') return word === 'dropped'
      const verdict = judge(await this.store.parts.readCounters(this.id), this.#belief())
      if (verdict instanceof CollectorReplacedError) throw verdict
      if (verdict === 'attach') await this.#attachAgain()
      return false
    } catch (error) {
      if (error instanceof CollectorReplacedError) throw error
      return false
    }
  }

  async #attachAgain(): Promise<void> {
    const { part } = this
    const record = await this.store.parts.attach(this.id, part.collector, driverLeaseMs, part.hash)
    if (record !== undefined) part.attaches = record.attaches
  }

  /** Ends for the consumer; what is in Redis stays as it is. */
  fail(error: unknown): void {
    this.#end(error instanceof Error ? error : new MillraceUnknownError(error))
  }

  /** Ends because of what the user did or gave, and takes the rest out of Redis. */
  abort(error: unknown): void {
    if (this.#over) return
    this.fail(error)
    this.#dropAndTell().catch(leaveToExpire)
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
    this.#feeder?.stop()
    this.submitter.stop()
    this.collector.stop()
    this.releaser.stop()
    this.#host.disown(this)
    for (const { resolve, reject } of this.#submittedWaiters.splice(0)) {
      if (error === undefined) resolve()
      else reject(error)
    }
    this.#news.fire()
    for (const listener of this.#endListeners.splice(0)) listener()
  }

  #takeOut(): Promise<void> {
    return this.#dropAndTell().catch(leaveToExpire)
  }

  /** Removes the part, and has what runs of it stopped. The call that creates it may be under way: then it comes first. */
  async #dropAndTell(incarnation = this.part.incarnation): Promise<void> {
    const { job, collector, hash } = this.part
    await this.store.parts.drop({ job, incarnation, collector, hash })
    await this.store.publishControl({ type: 'cancel', job, incarnation, index: undefined })
  }

  // Consuming ---------------------------------------------------------------------------------------------------------

  /** A consumer begins. `stream`: what it has used is released. */
  consume(how: { readonly stream: boolean; readonly ordered: boolean }): void {
    this.#consumed = true
    this.#streams = how.stream
    if (!how.ordered) this.assembler.unorder()
  }

  /**
   * The next piece, or undefined when there are no more.
   * @throws what ended the job; InputsIncompleteError when a former driver did not submit everything.
   */
  async next(): Promise<ReadPiece | undefined> {
    for (;;) {
      if (this.#over) {
        if (this.#error !== undefined) throw this.#error
        return undefined
      }
      const piece = this.assembler.shift()
      if (piece !== undefined) {
        const bytes = piece.run.bytes ?? (await this.#read(piece))
        if (bytes !== undefined) return { ...piece, bytes }
      } else if (this.#hasAll()) {
        return undefined
      } else {
        await this.#news.wait()
      }
    }
  }

  /** The consumer has used the piece, and everything before it when it goes in order. */
  used(piece: Piece, ordered: boolean): void {
    this.#handed += piece.count
    if (this.#streams)
      this.releaser.add(piece.last ? piece.run : undefined, ordered ? piece.first + piece.count : undefined)
    this.#feeder?.nudge()
  }

  submitted(): Promise<void> {
    if (this.submitter.completed) return Promise.resolve()
    return new Promise((resolve, reject) => {
      if (this.#error !== undefined) reject(this.#error)
      else this.#submittedWaiters.push({ resolve, reject })
    })
  }

  get handed(): number {
    return this.#handed
  }

  async #read(piece: Piece): Promise<Buffer | undefined> {
    for (let attempt = 1; !this.#over; attempt++) {
      const { incarnation } = this.part
      try {
        const bytes = await this.collector.bytesOf(piece)
        if (bytes !== undefined) {
          this.assembler.secure(piece)
          this.outbox.collected(piece.first, piece.first + piece.count, this.assembler.secured)
          return bytes
        }
        this.assembler.lose(piece)
        if (this.part.incarnation === incarnation) this.lost()
        return undefined
      } catch {
        await pause(attempt)
      }
    }
    return undefined
  }

  #hasAll(): boolean {
    if (!this.#inputsEnded) return false
    const total = this.outbox.end
    const { assembler, collector } = this
    if (assembler.arrived + collector.released < total) return false
    if (assembler.arrived < total) {
      // The gaps are what a former driver released out of order.
      assembler.skip(assembler.coverage.gaps(0, total))
      collector.forgive()
      return false
    }
    if (!this.inputsComplete()) {
      throw inputsIncomplete(this.id, total)
    }
    return true
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
    return windowRoom({ tasks: this.outbox.end - this.#handed, inputBytes: bytes, resultBytes: meanResultBytes })
  }

  paceNs(): number {
    return this.collector.paceNs
  }

  send(): void {
    this.submitter.send()
  }

  /** What a former driver did not submit will never come. */
  inputsComplete(): boolean {
    const abandoned = this.#feeder === nothingToFeed && this.record?.complete === false
    return this.#inputsEnded && !abandoned
  }

  get #inputsEnded(): boolean {
    return this.#feeder?.ended ?? false
  }

  progressed(): void {
    if (this.part.fields.detached) this.outbox.forgetOldest(mostDetachedBytes)
    if (this.submitter.completed) {
      for (const { resolve } of this.#submittedWaiters.splice(0)) resolve()
      // The inputs may have ended when all results were in: then nothing else tells the consumer.
      this.#news.fire()
    }
    this.#feeder?.nudge()
  }

  keepsResults(): boolean {
    return this.#consumed || !this.part.fields.detached
  }

  arrived(run: Arrival): void {
    if (run.bytes !== undefined) this.outbox.collected(run.first, run.first + run.count, this.assembler.secured)
    this.#news.fire()
  }

  onMessage(message: ResultsMessage | JobMessage): void {
    if (message.incarnation !== this.part.incarnation) return
    this.#lastNewsAt = performance.now()
    this.#search.calm()
    if (message.type === 'results') this.collector.onResults(message)
    else if (message.type === 'replaced') this.replaced()
    else this.fail(cancelledElsewhere(this.id))
  }

  replaced(): void {
    this.fail(collectorReplaced(this.id))
  }

  // Comparing with Redis ------------------------------------------------------------------------------------------------

  /** Looks for itself, unless it heard something a moment ago. */
  poll(): void {
    const quietForMs = performance.now() - this.#lastNewsAt
    if (quietForMs > quietMs) this.reconcile()
    if (quietForMs > this.#search.afterMs) this.#searchAgain()
  }

  /** Compares what Redis has with what it must have, and acts on the difference. */
  reconcile(): void {
    this.#reconcile().then(
      () => {
        this.refusal = undefined
      },
      (error: unknown) => {
        // The next poll, or the reconnect when the connection is down again, looks again.
        this.refusal = refusesWrites(error) ? refusalInWords(error) : undefined
      },
    )
  }

  /** Results, or tasks, that must be in Redis are not. */
  lost(): void {
    // Begun anew, it would lose with them what is still there and was submitted by somebody else.
    if (!this.#hasInputs()) {
      this.#search.doubted = true
      this.#searchAgain()
      return
    }
    this.#mustRestart = true
    this.submitter.halt()
  }

  /** Whether everything that is not collected can be submitted anew. */
  #hasInputs(): boolean {
    const { outbox, assembler, part } = this
    const sharedIsLost = part.fields.shared && part.shared === undefined
    return assembler.coverage.gaps(0, sharedIsLost ? outbox.end : outbox.keptFrom).length === 0
  }

  #searchAgain(): void {
    const { incarnation } = this.part
    if (!this.submitter.created || !this.#isSteady(incarnation)) return
    this.#search.run(this.part).then(
      missing => {
        if (missing.length === 0 || !this.#isSteady(incarnation)) return
        if (this.#hasInputs()) this.lost()
        else this.fail(tasksLost(this.id, missing))
      },
      () => {
        // The connection is down again: the next poll looks again.
      },
    )
  }

  recover(): void {
    if (this.#recovering || this.#over) return
    this.#recovering = true
    this.#recover().then(
      () => {
        this.#recovering = false
      },
      (error: unknown) => {
        this.fail(error)
      },
    )
  }

  async #reconcile(): Promise<void> {
    const belief = this.#belief()
    if (!belief.created || !this.#isSteady(belief.incarnation)) return
    const stand = await this.store.parts.readCounters(this.id)
    if (!this.#isSteady(belief.incarnation)) return
    if (stand === undefined || !isSound(stand, belief)) {
      this.submitter.halt()
      return
    }
    if (stand.pace > 0) this.collector.paceNs ||= stand.pace
    this.collector.expect(stand.settled)
    await this.store.parts.enlist(this.id, this.part.hash, this.leased ? driverLeaseMs : 0)
  }

  /** Whether the job goes on in this incarnation, and nothing is being repaired. */
  #isSteady(incarnation: string): boolean {
    return !this.#over && !this.#recovering && this.part.incarnation === incarnation
  }

  #belief(): Belief {
    const { job, incarnation, collector, attaches } = this.part
    const { created, acknowledged, completed } = this.submitter
    return { job, incarnation, collector, attaches, created, acknowledged, completed, mustRestart: this.#mustRestart }
  }

  /** Nothing is under way. Finds out how the part stands, repairs it, and lets the submitter go on. */
  async #recover(): Promise<void> {
    for (let attempt = 1; !this.over; attempt++) {
      try {
        const stand = await this.store.parts.readCounters(this.id)
        if (await this.#act(judge(stand, this.#belief()), stand)) return
      } catch {
        await pause(attempt)
      }
    }
  }

  /** Does what the verdict says. True when the submitter goes on, or the job has ended. */
  async #act(verdict: Verdict, stand: PartCounters | undefined): Promise<boolean> {
    if (verdict instanceof Error) {
      this.fail(verdict)
      return true
    }
    if (verdict === 'attach') {
      await this.#attachAgain()
      return false
    }
    if (verdict === 'restart') {
      await this.#dropAndTell(stand?.incarnation)
      return false
    }
    if (verdict === 'resume' && stand !== undefined) {
      this.submitter.resume({ ...stand, created: true })
      this.collector.expect(stand.settled)
      return true
    }
    if (verdict === 'anew') this.#startAnew()
    this.submitter.resume({ submitted: 0, complete: false, created: false })
    return true
  }

  /** Redis has lost the part: a new incarnation of it begins with all that is not collected. */
  #startAnew(): void {
    this.#mustRestart = false
    this.part.renew()
    this.assembler.forgetUnread()
    this.collector.reset()
    this.releaser.restate()
    this.#search.calm()
    const sharedIsLost = this.part.fields.shared && this.part.shared === undefined
    const lost = this.assembler.coverage.gaps(0, sharedIsLost ? this.outbox.end : this.outbox.keptFrom)
    if (lost.length > 0) this.fail(tasksLost(this.id, lost))
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

/** Redis can't be told: the job's lease lapses, and what is left of it expires. */
function leaveToExpire(): void {
  return undefined
}

function pause(attempt: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, jitteredBackoffMs(attempt, { firstMs: 20, mostMs: 1000 })))
}
