import type { Log } from '../runtime/log.ts'
import { Loop } from '../runtime/loop.ts'
import type { Service } from '../runtime/service.ts'
import { jobsByAge, pruneQuarantine, readyJobs, retiredClaims, undrivenJobs } from '../store/inspect/census.ts'
import type { LaneStore } from '../store/lane-store.ts'
import { emptyClaim, noHash, sharesOf } from './claim-contents.ts'
import { errorText } from './error-text.ts'

export interface JanitorOptions {
  readonly log: Log
  /** @default 5000 */
  readonly intervalMs?: number
}

/** What one run did. */
export interface JanitorReport {
  /** Jobs that wait for somebody to attach now, because their driver is gone. */
  readonly parked: number
  /** Jobs whose records had expired. */
  readonly forgotten: number
  /** Chunks that were found in claims that had ended. */
  readonly rescued: number
  /** Entries of the quarantine beyond what is kept. */
  readonly pruned: number
}

/** How much one run looks at; what is beyond has its turn in a later run. */
const mostParked = 64
const mostJobs = 64
const mostClaims = 128
const mostHashes = 64
/** Quarantined tasks that are kept for a person to look at. */
const keptInQuarantine = 256

/**
 * Tidies what no other step of a task's life gets to see: jobs whose driver went silent, ids of jobs that have expired,
 * chunks on the stage of a code version that nobody runs any more, chunks that arrived late in a claim that had ended.
 *
 * It need not offer work that stands ready while threads wait: every worker's lookout has its idle threads claim it.
 */
export class Janitor implements Service {
  readonly #store: LaneStore
  readonly #options: JanitorOptions
  readonly #loop: Loop
  /** Code hashes met in jobs' records, oldest first: a stage that outlives its jobs is only found by its hash. */
  readonly #hashes = new Set<string>()
  #jobsFrom = 0
  #claimsFrom = 0

  constructor(store: LaneStore, options: JanitorOptions) {
    this.#store = store
    this.#options = options
    this.#loop = new Loop(
      async () => {
        await this.runOnce()
      },
      {
        intervalMs: options.intervalMs ?? 5000,
        onError: error => {
          options.log.warn(`The janitor could not run and will try again: ${errorText(error)}`)
        },
      },
    )
  }

  start(): void {
    this.#loop.start()
  }

  stop(): Promise<void> {
    return this.#loop.stop()
  }

  /** One round. */
  async runOnce(): Promise<JanitorReport> {
    const failures: unknown[] = []
    // One that stumbles over something damaged must not keep the others from their work.
    const attempt = async <T>(work: () => Promise<T>, otherwise: T): Promise<T> => {
      try {
        return await work()
      } catch (error) {
        failures.push(error)
        return otherwise
      }
    }
    const parked = await attempt(() => this.#parkUndriven(), 0)
    const forgotten = await attempt(() => this.#forgetExpired(), 0)
    await attempt(() => this.#sweepStages(), undefined)
    const rescued = await attempt(() => this.#rescueLateArrivals(), 0)
    const pruned = await attempt(() => pruneQuarantine(this.#store, keptInQuarantine), 0)
    if (failures.length > 0) throw failures[0]
    return { parked, forgotten, rescued, pruned }
  }

  async #parkUndriven(): Promise<number> {
    let parked = 0
    for (const job of await undrivenJobs(this.#store, mostParked)) {
      const hash = (await this.#store.upkeep.hashOf(job)) ?? noHash
      if ((await this.#store.upkeep.park(job, hash)) !== 'parked') continue
      parked++
      // What was on the stage waits, and expires, with the rest of it.
      await this.#store.claims.unstage(job, hash)
      this.#options.log.info(
        `The driver of job ${job} is gone: the job waits until a program attaches to it, or expires.`,
      )
    }
    return parked
  }

  async #forgetExpired(): Promise<number> {
    const jobs = await jobsByAge(this.#store, this.#jobsFrom, mostJobs)
    this.#jobsFrom = jobs.length < mostJobs ? 0 : this.#jobsFrom + mostJobs
    const lines = await Promise.all(jobs.map(job => this.#store.upkeep.lineOf(job)))
    let forgotten = 0
    for (const [index, job] of jobs.entries()) {
      const line = lines[index]
      if (line === undefined) {
        if ((await this.#store.upkeep.forget(job, noHash)) === 'forgotten') forgotten++
        continue
      }
      this.#remember(line.hash)
      // It always is, unless the queue itself was lost: its driver sees to that, and for those that have none we do.
      if (line.waits) await this.#store.parts.enlist(job, line.hash, 0)
    }
    return forgotten
  }

  #remember(hash: string): void {
    this.#hashes.delete(hash)
    this.#hashes.add(hash)
    if (this.#hashes.size <= mostHashes) return
    const [oldest] = this.#hashes
    if (oldest !== undefined) this.#hashes.delete(oldest)
  }

  /** Drops what stands in a queue or on a stage of jobs that are gone. */
  async #sweepStages(): Promise<void> {
    for (const hash of this.#hashes) {
      const [staged, ready] = await Promise.all([
        this.#store.claims.peekStage(hash),
        readyJobs(this.#store, hash, mostJobs),
      ])
      const jobs = [...new Set([...sharesOf(staged).map(({ job }) => job), ...ready])]
      const present = await Promise.all(jobs.map(job => this.#store.upkeep.hashOf(job)))
      for (const [index, job] of jobs.entries()) {
        if (present[index] !== undefined) continue
        await this.#store.claims.unstage(job, hash)
        await this.#store.upkeep.forget(job, hash)
      }
    }
  }

  async #rescueLateArrivals(): Promise<number> {
    const claims = await retiredClaims(this.#store, this.#claimsFrom, mostClaims)
    this.#claimsFrom = claims.length < mostClaims ? 0 : this.#claimsFrom + mostClaims
    const lines = await Promise.all(claims.map(claim => this.#store.claims.peekClaim(claim)))
    let rescued = 0
    for (const [index, claim] of claims.entries()) {
      if (lines[index]?.length === 0) continue
      const { returned } = await emptyClaim(this.#store, claim, ({ job }, hash) =>
        this.#store.claims.giveBack(job, hash, claim),
      )
      rescued += returned
    }
    if (rescued > 0)
      this.#options.log.info(`${rescued} chunks had arrived late in claims that had ended; they will run elsewhere.`)
    return rescued
  }
}
