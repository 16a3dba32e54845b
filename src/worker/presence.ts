import { Janitor } from '../recovery/janitor.ts'
import { Promoter } from '../recovery/promoter.ts'
import { Reaper } from '../recovery/reaper.ts'
import type { Log } from '../runtime/log.ts'
import type { Service } from '../runtime/service.ts'
import type { WorkerInfo } from '../protocol/records.ts'
import type { PartName } from '../store/lane-access.ts'
import type { LaneStore } from '../store/lane-store.ts'
import { ClaimKeeper } from './claim-keeper.ts'
import { Lookout } from './lookout.ts'
import { Membership } from './membership.ts'
import { MissedCancellations } from './missed-cancellations.ts'
import type { ThreadHandle } from './thread-handle.ts'

export interface PresenceOptions {
  readonly store: LaneStore
  /** The worker's id as long as the lane knows it; where it does not any more it gets another one there. */
  readonly id: string
  readonly hash: string
  readonly leaseMs: number
  readonly maxDeaths: number
  readonly threads: number
  readonly info: (id: string) => WorkerInfo
  readonly stats: () => string
  readonly onRegistered: (id: string, lane: number) => void
  /** Whether a thread may use the claim. */
  readonly isInUse: (claim: string) => boolean
  /** Whether there are threads that wait for work. */
  readonly hasIdle: () => boolean
  /** Work stands in line: threads that wait are to look for themselves. */
  readonly onWork: () => void
  readonly crew: () => readonly ThreadHandle[]
  /** A job, or a former life of it, is gone: what runs of it is to stop. */
  readonly onCancelled: (part: PartName) => void
  readonly log: Log
}

/**
 * What a worker's main thread does on one lane: keeps the worker registered, hands back what its threads leave behind,
 * and takes part in recovery. Lanes may be on different servers, so each has its own, which goes on while another
 * lane's server is away.
 */
export class Presence implements Service {
  readonly membership: Membership
  readonly keeper: ClaimKeeper
  readonly cancellations: MissedCancellations
  readonly #services: readonly Service[]

  constructor(options: PresenceOptions) {
    const { store, hash, leaseMs, maxDeaths, log } = options
    const { lane } = store.lane
    this.membership = new Membership({
      ...options,
      onRegistered: id => {
        options.onRegistered(id, lane)
      },
    })
    this.keeper = new ClaimKeeper({
      store,
      hash,
      workerId: () => this.membership.id,
      isInUse: options.isInUse,
      log,
    })
    this.cancellations = new MissedCancellations({
      store,
      threads: options.crew,
      onCancelled: options.onCancelled,
      log,
    })
    this.#services = [
      this.membership,
      this.keeper,
      this.cancellations,
      new Reaper(store, { leaseMs, maxDeaths, log }),
      new Promoter(store, { log }),
      new Janitor(store, { log }),
      new Lookout({ store, hash, hasIdle: options.hasIdle, onWork: options.onWork, log }),
    ]
    store.client.on('ready', () => {
      this.keeper.sweepSoon()
    })
  }

  /** Resolves when the worker is registered. */
  async start(): Promise<void> {
    for (const service of this.#services) await service.start()
  }

  async stop(): Promise<void> {
    await Promise.all(this.#services.map(service => service.stop()))
  }

  /** Hands back what is left, and says goodbye. */
  async leave(): Promise<void> {
    await this.keeper.flush()
    await this.membership.leave([])
  }
}
