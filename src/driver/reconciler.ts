import type { PartCounters } from '../protocol/records.ts'
import { jitteredBackoffMs } from '../runtime/backoff.ts'
import type { LaneStore } from '../store/lane-store.ts'
import { refusalInWords, refusesWrites } from '../store/reply-error.ts'
import type { Assembler } from './assembler.ts'
import type { Collector } from './collector.ts'
import type { Delivery } from './delivery.ts'
import { dropPart, endedPart } from './drop-part.ts'
import { tasksLost } from './job-errors.ts'
import { isSound, judge } from './judge.ts'
import type { Belief, Verdict } from './judge.ts'
import { LostTasks } from './lost-tasks.ts'
import type { Outbox } from './outbox.ts'
import { driverLeaseMs } from './part.ts'
import type { Part } from './part.ts'
import type { Releaser } from './releaser.ts'
import type { Submitter } from './submitter.ts'

/** What the reconciler compares, and whom it tells. */
export interface ReconciledJob {
  readonly part: Part
  readonly store: LaneStore
  readonly outbox: Outbox
  readonly assembler: Assembler
  readonly collector: Collector
  readonly submitter: Submitter
  readonly releaser: Releaser
  readonly delivery: Delivery
  /** Whether it has ended for its consumer. */
  readonly over: boolean
  /** Whether the driver's lease keeps it running. */
  readonly leased: boolean
  /** Ends for the consumer; what is in Redis stays as it is. */
  fail(error: unknown): void
}

/** A job that hears nothing for so long looks for itself. */
const quietMs = 1500

/**
 * Compares a job with what Redis has of it whenever something may have been missed, and acts on the difference. Redis may
 * at any time have less than it had; then what is not yet collected is submitted anew.
 */
export class Reconciler {
  readonly #job: ReconciledJob
  readonly #search: LostTasks
  #recovering = false
  #mustRestart = false
  #rewinding = false
  #lastNewsAt = performance.now()
  /** Why Redis takes no writes, workers' commits among them, as the last look found it. */
  refusal: string | undefined

  constructor(job: ReconciledJob) {
    this.#job = job
    this.#search = new LostTasks(job)
  }

  /** The job heard of itself. */
  heard(): void {
    this.#lastNewsAt = performance.now()
    this.#search.calm()
  }

  /** Looks for itself, unless it heard something a moment ago. */
  poll(): void {
    const quietForMs = performance.now() - this.#lastNewsAt
    if (quietForMs > quietMs) this.reconcile()
    if (quietForMs > this.#search.afterMs) this.#searchAgain()
  }

  /** Compares what Redis has with what it must have. */
  reconcile(): void {
    this.#compare().then(
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
    this.#job.submitter.halt()
  }

  /**
   * Redis has gone back, and a thread has reduced other stretches than before. Without the inputs, what came before is
   * given up, and the consumer starts over from its checkpoint as Redis has it. `run`: what does not fit, where it is known.
   */
  clashed(run?: { readonly first: number; readonly count: number }): void {
    if (this.#hasInputs()) {
      this.lost()
      return
    }
    if (this.#rewinding) return
    this.#rewinding = true
    this.#job.releaser.suspend()
    this.#rewind(run).catch((error: unknown) => {
      this.#job.fail(error)
    })
  }

  /** Finds out how the part stands, once, and repairs it: nothing may be under way. The submitter goes on when that is done. */
  recover(): void {
    if (this.#recovering || this.#job.over) return
    this.#recovering = true
    this.#recover().then(
      () => {
        this.#recovering = false
      },
      (error: unknown) => {
        this.#job.fail(error)
      },
    )
  }

  async #rewind({ first, count } = { first: 0, count: 0 }): Promise<void> {
    const { part, store, delivery } = this.#job
    for (let attempt = 1; !this.#job.over; attempt++) {
      try {
        const record = await store.parts.readPart(part.job)
        this.#rewinding = false
        if (record?.incarnation !== part.incarnation || record.collector !== part.collector) {
          this.#job.releaser.resume()
          this.#job.submitter.halt()
        } else if (first < record.cursor && first + count > record.cursor)
          // Nobody of ours moves a checkpoint there: what is behind it only exists together with what is before.
          this.#job.fail(tasksLost(part.job, [[record.cursor, first + count]]))
        else delivery.rewind(record)
        return
      } catch {
        await new Promise(resolve => setTimeout(resolve, jitteredBackoffMs(attempt, { firstMs: 20, mostMs: 1000 })))
      }
    }
  }

  async #compare(): Promise<void> {
    const belief = this.#belief()
    if (!belief.created || !this.#isSteady(belief.incarnation)) return
    const { part, store, collector, submitter, leased } = this.#job
    const stand = await store.parts.readCounters(part.job)
    if (!this.#isSteady(belief.incarnation)) return
    if (stand === undefined || !isSound(stand, belief)) {
      submitter.halt()
      return
    }
    if (stand.pace > 0) collector.paceNs ||= stand.pace
    collector.expect(stand.settled)
    await store.parts.enlist(part.job, part.hash, leased ? driverLeaseMs : 0)
  }

  /** Whether the job goes on in this incarnation, and nothing is being repaired. */
  #isSteady(incarnation: string): boolean {
    return !this.#job.over && !this.#recovering && this.#job.part.incarnation === incarnation
  }

  #belief(): Belief {
    const { job, incarnation, formers, collector, attaches } = this.#job.part
    const { created, acknowledged, completed } = this.#job.submitter
    return {
      job,
      incarnation,
      renewed: formers.length > 0,
      collector,
      attaches,
      created,
      acknowledged,
      completed,
      mustRestart: this.#mustRestart,
    }
  }

  #searchAgain(): void {
    const { part, submitter } = this.#job
    const { incarnation } = part
    if (!submitter.created || !this.#isSteady(incarnation)) return
    this.#search.run(part).then(
      missing => {
        if (missing.length === 0 || !this.#isSteady(incarnation)) return
        if (this.#hasInputs()) this.lost()
        else this.#job.fail(tasksLost(part.job, missing))
      },
      () => {
        // The connection is down again: the next poll looks again.
      },
    )
  }

  /** Whether everything that is not collected can be submitted anew. */
  #hasInputs(): boolean {
    return this.#gone().length === 0
  }

  /** The tasks that are not collected and whose inputs are not here any more. */
  #gone() {
    const { outbox, assembler, part } = this.#job
    const sharedIsLost = part.fields.shared && part.shared === undefined
    return assembler.coverage.gaps(0, sharedIsLost ? outbox.end : outbox.keptFrom)
  }

  async #recover(): Promise<void> {
    const job = this.#job
    for (let attempt = 1; !job.over; attempt++) {
      try {
        const stand = await job.store.parts.readCounters(job.part.job)
        if (await this.#act(judge(stand, this.#belief()), stand)) return
      } catch {
        await new Promise(resolve => setTimeout(resolve, jitteredBackoffMs(attempt, { firstMs: 20, mostMs: 1000 })))
      }
    }
  }

  /** Does what the verdict says. True when the submitter goes on, or the job has ended. */
  async #act(verdict: Verdict, stand: PartCounters | undefined): Promise<boolean> {
    const { submitter, collector } = this.#job
    if (verdict instanceof Error) {
      this.#job.fail(verdict)
      return true
    }
    if (verdict === 'attach') {
      const { part, store } = this.#job
      const record = await store.parts.attach(part.job, part.collector, driverLeaseMs, part.hash, stand?.collector)
      if (record !== undefined) part.attaches = record.attaches
      return false
    }
    if (verdict === 'restart') {
      const { store, part } = this.#job
      await dropPart(endedPart(store, part, { running: true, incarnation: stand?.incarnation }))
      return false
    }
    if (verdict === 'resume' && stand !== undefined) {
      submitter.resume({ ...stand, created: true })
      collector.expect(stand.settled)
      return true
    }
    if (verdict === 'anew') this.#startAnew()
    submitter.resume({ submitted: 0, complete: false, created: false })
    return true
  }

  /** Redis has lost the part: a new incarnation of it begins with all that is not collected. */
  #startAnew(): void {
    const { part, assembler, collector, releaser } = this.#job
    this.#mustRestart = false
    part.renew()
    assembler.forgetUnread()
    collector.reset()
    releaser.restate()
    this.#search.calm()
    const gone = this.#gone()
    if (gone.length > 0) this.#job.fail(tasksLost(part.job, gone))
  }
}
