import type { Drivers } from './drivers.ts'
import type { Fleet } from './fleet.ts'
import type { History } from './history.ts'
import type { Proxy } from './proxy.ts'
import type { Random } from './random.ts'
import type { Server, ServerKind } from './server.ts'

/** All that a fault can reach. */
export interface World {
  readonly server: Server
  /** In front of a single server; nobody goes through it to others. */
  readonly proxy: Proxy
  readonly fleet: Fleet
  readonly drivers: Drivers
  /** The fault log. */
  readonly history: History
  readonly namespace: string
  readonly leaseMs: number
  /** Goes on while the next fault is injected already; it has ended before the run is healed. */
  readonly background: (work: Promise<void>) => void
}

export interface Fault {
  /** Faults of one lane never overlap one another; those of the two lanes do. */
  readonly lane: 'processes' | 'redis'
  /** Where it can be injected. @default everywhere */
  readonly servers?: readonly ServerKind[]
  /** Resolves, when it is over or goes on by itself, with what happened; undefined when it could not be done now. */
  readonly inject: (world: World, dice: Random) => Promise<string | undefined>
}
