import { randomName } from '../protocol/names.ts'
import type { WorkerInfo } from '../protocol/records.ts'
import type { Log } from '../runtime/log.ts'
import { Loop } from '../runtime/loop.ts'
import type { Service } from '../runtime/service.ts'
import type { LaneStore } from '../store/lane-store.ts'

export interface MembershipOptions {
  readonly store: LaneStore
  /** The worker's first id. */
  readonly id: string
  readonly leaseMs: number
  readonly threads: number
  readonly info: (id: string) => WorkerInfo
  readonly stats: () => string
  /** The worker is known under this id from now on; claims made under another one are void. */
  readonly onRegistered: (id: string) => void
  readonly log: Log
}

/** Keeps the worker registered on a lane: a heartbeat for all of its threads, and a new registration when the last was lost. */
export class Membership implements Service {
  readonly #options: MembershipOptions
  readonly #loop: Loop
  #id: string
  /** The threads may not know that the worker is registered. */
  #doubted = false

  constructor(options: MembershipOptions) {
    this.#options = options
    this.#id = options.id
    this.#loop = new Loop(() => this.#beat(), {
      intervalMs: options.leaseMs / 3,
      jitter: 0,
      onError: error => {
        options.log.warn(`the heartbeat failed and is tried again: ${(error as Error).message}`)
      },
    })
  }

  get id(): string {
    return this.#id
  }

  async start(): Promise<void> {
    await this.#register()
    this.#loop.start()
  }

  stop(): Promise<void> {
    return this.#loop.stop()
  }

  /** A thread found that Redis does not know this worker, or a claim of it: look now. */
  check(worker: string): void {
    if (worker !== this.#id) return
    this.#doubted = true
    this.#loop.nudge()
  }

  /** False when some claim still holds something. */
  async leave(claims: readonly string[]): Promise<boolean> {
    return (await this.#options.store.members.leave(this.#id, claims)) === 'left'
  }

  async #beat(): Promise<void> {
    const { store, leaseMs, threads, stats, onRegistered, log } = this.#options
    if ((await store.members.heartbeat(this.#id, { leaseMs, threads, stats: stats() })) === 'unknown') {
      // Its claims are the reapers' now, or gone. Under its old name it would be taken for the one that died.
      this.#id = newWorkerId()
      // If the registration fails half-way, the next heartbeat may find it done: the threads are still to be told.
      this.#doubted = true
      log.warn(
        `Redis does not know this worker any more (its lease lapsed, or Redis lost data): it goes on as ${this.#id}`,
      )
      await this.#register()
    } else if (this.#doubted) {
      this.#doubted = false
      onRegistered(this.#id)
    }
  }

  async #register(): Promise<void> {
    const { store, leaseMs, threads, info, stats, onRegistered } = this.#options
    const description = JSON.stringify(info(this.#id))
    await store.members.register(this.#id, { leaseMs, info: description, claims: [] })
    // The fleet's number of threads is part of every heartbeat, and sizes the first claims.
    await store.members.heartbeat(this.#id, { leaseMs, threads, stats: stats() })
    this.#doubted = false
    onRegistered(this.#id)
  }
}

export function newWorkerId(): string {
  return randomName(6)
}
