import { startCluster } from './servers/cluster.ts'
import { startSentinels } from './servers/sentinel.ts'
import { startSingle } from './servers/single.ts'

export const persistences = ['always', 'everysec', 'rdb'] as const
/** The append-only file, synced with each command or every second, or snapshots alone. */
export type Persistence = (typeof persistences)[number]

export const serverKinds = ['single', 'cluster', 'sentinel'] as const
/** One server behind the proxy; a Cluster of three masters and their replicas; a master and a replica under three Sentinels. */
export type ServerKind = (typeof serverKinds)[number]

/** The Redis of a run, as the harness asks it: beside the proxy. */
interface Asked {
  readonly persistence: Persistence
  /** One command to the server that has the key. */
  ask(key: string, ...command: string[]): Promise<string>
  /** One command to every server that takes writes. */
  askAll(...command: string[]): Promise<readonly string[]>
  stop(): Promise<void>
}

/** Several servers, of which one takes another's place. */
export interface ReplicatedServer extends Asked {
  readonly kind: 'cluster' | 'sentinel'
  /** What Millrace is given. */
  readonly url: string
  /** Kills a master, waits until its replica takes its place, and brings it back as a replica. Resolves with what happened. */
  failOver(dice: () => number): Promise<string>
}

export interface BehindProxy extends Asked {
  readonly kind: 'single'
  /** What the proxy connects to. */
  readonly socketPath: string
  /** Ends it at once, without a chance to save. */
  kill(): Promise<void>
  /** Starts it on what it had, and resolves when it answers. `extraConfig` holds for this start alone. */
  start(extraConfig?: Readonly<Record<string, string>>): Promise<void>
  /** While it is down: takes away what it wrote in the last `ms`. Gives the bytes that are gone; undefined where there is no append-only file. */
  forgetLast(ms: number): number | undefined
}

export type Server = BehindProxy | ReplicatedServer

export function startServer(kind: ServerKind, persistence: Persistence): Promise<Server> {
  switch (kind) {
    case 'single':
      return startSingle(persistence)
    case 'cluster':
      return startCluster(persistence)
    case 'sentinel':
      return startSentinels(persistence)
  }
}
