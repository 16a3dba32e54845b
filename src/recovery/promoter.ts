import type { Log } from '../runtime/log.ts'
import { Loop } from '../runtime/loop.ts'
import type { Service } from '../runtime/service.ts'
import { jobsByDueTime, redisNowMs } from '../store/inspect/census.ts'
import type { LaneStore } from '../store/lane-store.ts'
import { noHash } from './claim-contents.ts'
import { errorText } from './error-text.ts'

export interface PromoterOptions {
  readonly log: Log
  /** The longest time between two runs; a retry that is due earlier makes the next one come earlier. @default 500 */
  readonly intervalMs?: number
}

/** How many jobs one run looks at, and how many batches of retries of one job it moves. */
const mostJobs = 64
const mostBatches = 8
/** What `promote` moves at most in one call. */
const batchSize = 128
/** A job that stays due although it was promoted must not make the loop spin. */
const leastPauseMs = 10

/** Puts retries whose delay is over back in line. */
export class Promoter implements Service {
  readonly #store: LaneStore
  readonly #mostPauseMs: number
  readonly #loop: Loop
  #pauseMs: number

  constructor(store: LaneStore, options: PromoterOptions) {
    this.#store = store
    this.#mostPauseMs = options.intervalMs ?? 500
    this.#pauseMs = this.#mostPauseMs
    const pauseMs = () => this.#pauseMs
    this.#loop = new Loop(
      async () => {
        await this.runOnce()
      },
      {
        // Read by the loop after every run.
        get intervalMs() {
          return pauseMs()
        },
        jitter: 0.1,
        onError: error => {
          this.#pauseMs = this.#mostPauseMs
          options.log.warn(`The promoter of retries could not run and will try again: ${errorText(error)}`)
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

  /** One round. Resolves with how many retries were put back in line. */
  async runOnce(): Promise<number> {
    const [nowMs, due] = await Promise.all([redisNowMs(this.#store), jobsByDueTime(this.#store, mostJobs)])
    let promoted = 0
    for (const { name, atMs } of due) if (atMs <= nowMs) promoted += await this.#promote(name)
    const nextMs = due.find(({ atMs }) => atMs > nowMs)?.atMs ?? (due.length < mostJobs ? Infinity : nowMs)
    this.#pauseMs = Math.max(leastPauseMs, Math.min(this.#mostPauseMs, nextMs - nowMs))
    return promoted
  }

  async #promote(job: string): Promise<number> {
    const hash = (await this.#store.upkeep.hashOf(job)) ?? noHash
    let promoted = 0
    for (let batch = 0; batch < mostBatches; batch++) {
      const moved = await this.#store.upkeep.promote(job, hash)
      promoted += moved
      if (moved < batchSize) break
    }
    return promoted
  }
}
