import { connect as connectPlain } from 'node:net'
import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RedisOptions } from 'ioredis'
import { jitteredBackoffMs } from '../runtime/backoff.ts'
import { ClusterMap } from './cluster-map.ts'
import { AbstractConnector } from './ioredis.ts'
import type { ClusterTarget, NodeAddress } from './target.ts'

/** Which node of a Cluster a connection is to: the master that has a slot, a certain one, or any. */
export type Place = { readonly slot: number } | { readonly node: NodeAddress } | 'anywhere'

/** What ioredis is given to connect by; it makes one for each client. */
export function clusterConnector(target: ClusterTarget, place: Place): NonNullable<RedisOptions['Connector']> {
  return class extends ClusterConnector {
    constructor(options: unknown) {
      super((options as RedisOptions).disconnectTimeout ?? 2000, target, place)
    }
  }
}

/**
 * Looks up where its place is each time it connects.
 *
 * A lane is one slot, so that a connection per lane to whoever is its master now does all that a Cluster client would:
 * a failover or a moved slot is a connection that breaks and is made anew, like the restart of a single server. The
 * Cluster client of ioredis would send a command again whose reply was lost, has no event for a subscription that was
 * made anew, and notices no half-open connection of its subscriber.
 */
class ClusterConnector extends AbstractConnector {
  readonly #target: ClusterTarget
  readonly #place: Place
  readonly #map: ClusterMap

  constructor(disconnectTimeoutMs: number, target: ClusterTarget, place: Place) {
    super(disconnectTimeoutMs)
    this.#target = target
    this.#place = place
    this.#map = new ClusterMap(target)
  }

  /** What was demoted meanwhile is not what was looked for. */
  override check(info: { readonly role?: string }): boolean {
    return this.#place === 'anywhere' || info.role !== 'slave'
  }

  /** Tries until there is a node, or the client is closed: what rejects here ends the client for good. */
  override async connect(report: (type: string, error: Error) => void): Promise<Socket> {
    this.connecting = true
    for (let attempt = 1; this.#isConnecting(); attempt++) {
      try {
        const node = await locate(this.#map, this.#place)
        if (!this.#isConnecting()) break
        return this.#open(node)
      } catch (error) {
        report('error', error as Error)
      }
      await sleep(jitteredBackoffMs(attempt, { firstMs: 50, mostMs: 500 }))
    }
    throw new Error('Connection is closed.')
  }

  /** Every command that a node refuses asks for this; once is enough for a socket, which else collects listeners. */
  override disconnect(): void {
    this.connecting = false
    if (!isEnding(this.stream)) super.disconnect()
  }

  /** A call, because the compiler takes the field for unchanged: `disconnect` changes it. */
  #isConnecting(): boolean {
    return this.connecting
  }

  #open(node: NodeAddress): Socket {
    const { tls, family } = this.#target.options
    const address = family === undefined ? node : { ...node, family }
    const stream = tls === undefined ? connectPlain(address) : connectTls({ ...address, ...tls })
    stream.once('error', (error: Error) => {
      this.firstError = error
    })
    this.stream = stream
    return stream
  }
}

/** The field has no value before the first connection, which its type does not say. */
function isEnding(stream: Socket | undefined): boolean {
  return stream?.writableEnded === true
}

async function locate(map: ClusterMap, place: Place): Promise<NodeAddress> {
  if (place === 'anywhere') return map.anyNode()
  if ('node' in place) return place.node
  const master = (await map.read()).masterOf(place.slot)
  if (master === undefined) throw new Error(`no master of the Redis Cluster has the slot ${place.slot} now`)
  return master
}
