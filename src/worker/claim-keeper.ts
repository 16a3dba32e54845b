import { emptyClaim } from '../recovery/claim-contents.ts'
import type { Log } from '../runtime/log.ts'
import { Loop } from '../runtime/loop.ts'
import type { Service } from '../runtime/service.ts'
import type { LaneStore } from '../store/lane-store.ts'

export interface ClaimKeeperOptions {
  readonly store: LaneStore
  readonly hash: string
  readonly workerId: () => string
  /** The claims that threads may use. */
  readonly isInUse: (claim: string) => boolean
  readonly log: Log
}

const sweepEveryMs = 20_000
const retryMs = 250

/**
 * Sees to it that no chunk stays behind in a claim of a lane that no thread uses. Threads abandon claims when they can't know what
 * is in them; besides, everything that Redis lists as this worker's and that no thread uses is looked into, because a
 * Redis that came back with an older state may hold again what was settled or retired.
 */
export class ClaimKeeper implements Service {
  readonly #options: ClaimKeeperOptions
  /** The worker's id at the time, by claim. */
  readonly #abandoned = new Map<string, string>()
  readonly #loop: Loop
  #sweptMs = 0

  constructor(options: ClaimKeeperOptions) {
    this.#options = options
    this.#loop = new Loop(() => this.#run(), {
      intervalMs: retryMs,
      onError: error => {
        options.log.warn(`handing back what threads left behind failed and is tried again: ${(error as Error).message}`)
      },
    })
  }

  start(): void {
    this.#sweptMs = Date.now()
    this.#loop.start()
  }

  stop(): Promise<void> {
    return this.#loop.stop()
  }

  abandon(claim: string): void {
    this.#abandoned.set(claim, this.#options.workerId())
    this.#loop.nudge()
  }

  /** Redis may have come back with another state: look at everything soon. */
  sweepSoon(): void {
    this.#sweptMs = 0
    this.#loop.nudge()
  }

  /** Hands back all that was abandoned. Resolves with false when something was left. */
  async flush(): Promise<boolean> {
    for (const [claim, worker] of [...this.#abandoned]) await this.#empty(claim, worker)
    return this.#abandoned.size === 0
  }

  async #run(): Promise<void> {
    if (this.#abandoned.size > 0) await this.flush()
    if (Date.now() - this.#sweptMs > sweepEveryMs) await this.#sweep()
  }

  async #sweep(): Promise<void> {
    const { store, workerId, isInUse } = this.#options
    this.#sweptMs = Date.now()
    const worker = workerId()
    // A thread announces a claim before it enrols it, so that what is listed and unknown here is nobody's.
    for (const claim of await store.members.claimsOf(worker)) {
      if (!isInUse(claim) && !this.#abandoned.has(claim)) this.#abandoned.set(claim, worker)
    }
    if (this.#abandoned.size > 0) await this.flush()
  }

  async #empty(claim: string, worker: string): Promise<void> {
    const { store, hash } = this.#options
    await emptyClaim(store, claim, ({ job }, jobHash) => store.claims.giveBack(job, jobHash, claim))
    if ((await store.members.retireClaim(worker, claim, hash)) === 'retired') this.#abandoned.delete(claim)
  }
}
