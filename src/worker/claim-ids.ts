import { randomName } from '../protocol/names.ts'
import type { Lanes } from '../store/lanes.ts'
import type { FromThread } from './messages.ts'

/** A claim: the name of a List that holds one batch of this thread, and whose it is. */
export interface ClaimId {
  readonly id: string
  readonly lane: number
  readonly worker: string
  /** Claims of an earlier connection, or an earlier registration, take no further batch. */
  readonly generation: number
}

/** What is known on one lane. */
interface OnLane {
  idle: ClaimId[]
  /** Announced, and not enrolled: Redis refused, or its answer was lost. */
  unenrolled: ClaimId | undefined
  /** Redis counts this thread among those that wait by this claim, until about then. */
  noted: { readonly id: string; readonly untilMs: number } | undefined
  generation: number
  /** The worker's id there, once it is registered. */
  worker: string | undefined
  registered: (() => void)[]
}

/**
 * The claim ids of a thread. Each batch stands in a claim of its own; an emptied one is used again, until the
 * connection breaks: a command that was under way then may still fill it, so it is left to the main thread, which knows
 * every id before its first use and hands back whatever turns up in one that the thread abandoned.
 */
export class ClaimIds {
  readonly #stores: Lanes
  readonly #send: (message: FromThread) => void
  readonly #lanes = new Map<number, OnLane>()

  constructor(stores: Lanes, send: (message: FromThread) => void) {
    this.#stores = stores
    this.#send = send
  }

  /** The id under which the worker is registered on a lane. */
  workerOn(lane: number): string | undefined {
    return this.#on(lane).worker
  }

  register(worker: string, lane: number): void {
    const on = this.#on(lane)
    on.worker = worker
    this.#renew(on)
    for (const wake of on.registered.splice(0)) wake()
  }

  /** A lane's connection broke, or all of them: what is idle is abandoned now, the rest when it is released. */
  renew(lane?: number): void {
    for (const on of lane === undefined ? this.#lanes.values() : [this.#on(lane)]) this.#renew(on)
  }

  /** An enrolled claim for the next batch, or undefined when the lane does not know this worker (any more). */
  async take(lane: number): Promise<ClaimId | undefined> {
    const on = this.#on(lane)
    while (on.worker === undefined) await new Promise<void>(resolve => on.registered.push(resolve))
    const known = on.idle.pop()
    if (known !== undefined) return known
    // Enrolling twice is once: while Redis refuses, each try with another one would be one more to retire.
    const claim = on.unenrolled ?? this.#announced(lane, on.worker, on.generation)
    on.unenrolled = undefined
    try {
      if ((await this.#stores.of(lane).members.enroll(claim.worker, claim.id)) === 'enrolled') return claim
    } catch (error) {
      if (claim.generation === on.generation) on.unenrolled = claim
      else this.abandon(claim, false)
      throw error
    }
    this.abandon(claim, false)
    this.lost(claim.worker, lane)
    return undefined
  }

  /** The lane does not know the worker: nothing is claimed there before it is registered anew. */
  lost(worker: string, lane: number): void {
    const on = this.#on(lane)
    if (on.worker !== worker) return
    on.worker = undefined
    this.#send({ type: 'unknown', worker, lane })
  }

  /** By this claim Redis counts the thread among those that wait on the lane; it may begin to block again until `untilMs`. */
  note(claim: ClaimId, untilMs: number): void {
    this.#on(claim.lane).noted = { id: claim.id, untilMs }
  }

  /** Whether Redis still counts this thread, whatever claim it blocks with. */
  isNoted(lane: number): boolean {
    const { noted } = this.#on(lane)
    return noted !== undefined && noted.untilMs > performance.now()
  }

  /** The claim by which Redis may count this thread. */
  notedAs(lane: number): string | undefined {
    return this.#on(lane).noted?.id
  }

  /** The thread must ask before it waits on the lane again. Redis may count it still. */
  endNote(lane: number): void {
    const on = this.#on(lane)
    if (on.noted !== undefined) on.noted = { ...on.noted, untilMs: 0 }
  }

  /** Redis does not count this thread any more. */
  removeNote(lane: number): void {
    this.#on(lane).noted = undefined
  }

  /** The claim's batch is settled. */
  release(claim: ClaimId): void {
    const on = this.#on(claim.lane)
    if (claim.generation === on.generation && claim.worker === on.worker) on.idle.push(claim)
    else this.abandon(claim, false)
  }

  /** Leaves the claim to the main thread; see `FromThread`. */
  abandon(claim: ClaimId, blocked: boolean): void {
    // Retired, it counts for nobody.
    if (this.notedAs(claim.lane) === claim.id) this.removeNote(claim.lane)
    this.#send({ type: 'abandon', id: claim.id, blocked })
  }

  #announced(lane: number, worker: string, generation: number): ClaimId {
    const claim = { id: randomName(), lane, worker, generation }
    this.#send({ type: 'claim', id: claim.id, lane })
    return claim
  }

  #renew(on: OnLane): void {
    on.generation++
    on.noted = undefined
    if (on.unenrolled !== undefined) this.abandon(on.unenrolled, false)
    on.unenrolled = undefined
    for (const claim of on.idle.splice(0)) this.abandon(claim, false)
  }

  #on(lane: number): OnLane {
    let on = this.#lanes.get(lane)
    if (on === undefined) {
      on = { idle: [], unenrolled: undefined, noted: undefined, generation: 0, worker: undefined, registered: [] }
      this.#lanes.set(lane, on)
    }
    return on
  }
}
