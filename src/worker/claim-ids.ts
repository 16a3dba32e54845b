import { randomName } from '../protocol/names.ts'
import type { LaneStore } from '../store/lane-store.ts'
import type { FromThread } from './messages.ts'

/** A claim: the name of a List that holds one batch of this thread, and whose it is. */
export interface ClaimId {
  readonly id: string
  readonly lane: number
  readonly worker: string
  /** Claims of an earlier connection, or an earlier registration, take no further batch. */
  readonly generation: number
}

/**
 * The claim ids of a thread. Each batch stands in a claim of its own; an emptied one is used again, until the
 * connection breaks: a command that was under way then may still fill it, so it is left to the main thread, which knows
 * every id before its first use and hands back whatever turns up in one that the thread abandoned.
 */
export class ClaimIds {
  readonly #stores: readonly LaneStore[]
  readonly #send: (message: FromThread) => void
  #idle: ClaimId[] = []
  #generation = 0
  #worker: string | undefined
  #registered: (() => void)[] = []

  constructor(stores: readonly LaneStore[], send: (message: FromThread) => void) {
    this.#stores = stores
    this.#send = send
  }

  /** The worker's id, under which it is registered. */
  get worker(): string | undefined {
    return this.#worker
  }

  register(worker: string): void {
    this.#worker = worker
    this.renew()
    for (const wake of this.#registered.splice(0)) wake()
  }

  /** The connection broke, or the worker's registration: what is idle is abandoned now, the rest when it is released. */
  renew(): void {
    this.#generation++
    for (const claim of this.#idle.splice(0)) this.abandon(claim, false)
  }

  /** An enrolled claim for the next batch, or undefined when Redis does not know this worker (any more). */
  async take(lane: number): Promise<ClaimId | undefined> {
    while (this.#worker === undefined) await new Promise<void>(resolve => this.#registered.push(resolve))
    const at = this.#idle.findIndex(claim => claim.lane === lane)
    const known = this.#idle[at]
    if (known !== undefined) {
      this.#idle.splice(at, 1)
      return known
    }
    const claim = { id: randomName(), lane, worker: this.#worker, generation: this.#generation }
    this.#send({ type: 'claim', id: claim.id, lane })
    try {
      if ((await this.#stores[lane]!.enroll(claim.worker, claim.id)) === 'enrolled') return claim
    } catch (error) {
      this.abandon(claim, false)
      throw error
    }
    this.abandon(claim, false)
    this.lost(claim.worker)
    return undefined
  }

  /** Redis does not know the worker: nothing is claimed before it is registered anew. */
  lost(worker: string): void {
    if (this.#worker !== worker) return
    this.#worker = undefined
    this.#send({ type: 'unknown', worker })
  }

  /** The claim's batch is settled. */
  release(claim: ClaimId): void {
    if (claim.generation === this.#generation && claim.worker === this.#worker) this.#idle.push(claim)
    else this.abandon(claim, false)
  }

  /** Leaves the claim to the main thread; see `FromThread`. */
  abandon(claim: ClaimId, blocked: boolean): void {
    this.#send({ type: 'abandon', id: claim.id, blocked })
  }
}
