import { setTimeout as sleep } from 'node:timers/promises'
import type { Lanes } from '../store/lanes.ts'
import { monotonicMs } from './board.ts'
import type { ClaimId } from './claim-ids.ts'

/**
 * How long a thread blocks for a chunk at a time, by its worker's lease: a BLMOVE of a process that froze must have ended
 * when its worker is buried; see the reaper's `bury`.
 */
export function blockMs(leaseMs: number): number {
  return Math.min(mostBlockMs, (leaseMs * 2) / 3)
}

const mostBlockMs = 4000
/** So often it blocks again before it looks for itself. What it is not told of meanwhile, the lookout sees. */
const blocksPerLook = 6
/** A block that took so much longer than it should was one of a process that stood still, and may be dead to others. */
const frozenMs = 1000

export interface StageWaitOptions {
  readonly hash: string
  /** How long one wait blocks; see `blockMs`. */
  readonly blockMs: number
  readonly lanes: Lanes
  /** The same lanes over connections that block. */
  readonly waits: Lanes
}

/** The blocking of a thread on the stage of one lane, for a chunk that is handed to it there. It ends at once when it is told to. */
export class StageWait {
  readonly #options: StageWaitOptions
  /** The numbers of the blocking connections by lane, asked for before they block. */
  readonly #connections = new Map<number, Promise<string | undefined>>()
  /** The lane that it blocks on, or is about to. */
  #lane: number | undefined
  #blocked: Promise<Buffer | null> | undefined
  /** Something has changed since it was aimed: it may not begin to block, or go on to. */
  #news = false
  #stopped = false

  constructor(options: StageWaitOptions) {
    this.#options = options
  }

  /** No wait begins any more. */
  get stopped(): boolean {
    return this.#stopped
  }

  /** The most that a whole wait takes, unless its process stands still. */
  get mostMs(): number {
    return this.#options.blockMs * blocksPerLook
  }

  /** It is about to look for work and then to block on this lane, if there is one: what is new from now on keeps it from that. */
  aim(lane: number | undefined): void {
    this.#news = false
    this.#lane = lane
  }

  /** Blocks a few times, until a chunk stands in the claim. Undefined: there is none. */
  async wait(claim: ClaimId): Promise<Buffer | undefined> {
    for (let blocks = 0; blocks < blocksPerLook && !this.#stopped && !this.#news; blocks++) {
      const startedMs = monotonicMs()
      const element = await this.#block(claim)
      if (element !== null) return element
      if (monotonicMs() - startedMs > this.#options.blockMs + frozenMs) break
    }
    return undefined
  }

  /** There is work on a lane: blocking on another one, or about to, the thread looks there first. */
  wake(lane: number): void {
    if (lane !== this.#lane) this.interrupt()
  }

  /** Ends the wait, or keeps it from beginning. */
  interrupt(): void {
    this.#news = true
    this.#unblock().catch(() => undefined)
  }

  /** Ends the wait, and lets no other begin. */
  stop(): Promise<void> {
    this.#stopped = true
    return this.#unblock()
  }

  /** A connection of a lane broke: the blocking one has another number now. */
  renew(lane: number): void {
    this.#connections.delete(lane)
    this.interrupt()
  }

  async #block(claim: ClaimId): Promise<Buffer | null> {
    const { waits, hash, blockMs } = this.#options
    const store = waits.of(claim.lane)
    if (!this.#connections.has(claim.lane)) {
      const number = store.client.call('client', ['id']).then(String, () => undefined)
      this.#connections.set(claim.lane, number)
    }
    try {
      this.#blocked = store.claims.blockingClaim(claim.id, hash, blockMs)
      return await this.#blocked
    } finally {
      this.#blocked = undefined
    }
  }

  /**
   * Ends the BLMOVE with an answer, so that it is known whether it has moved a chunk. It may not have begun yet, so it is
   * asked again. Where this can't be done (an ACL) the wait ends by itself.
   */
  async #unblock(): Promise<void> {
    const blocked = this.#blocked
    const lane = this.#lane
    if (blocked === undefined || lane === undefined) return
    for (let asked = 0; this.#blocked === blocked && asked < 20; asked++) {
      const id = await this.#connections.get(lane)
      if (id === undefined || this.#blocked !== blocked) return
      await this.#options.lanes
        .of(lane)
        .client.call('client', ['unblock', id])
        .catch(() => undefined)
      await sleep(Math.min(50, 5 * 2 ** asked))
    }
  }
}
