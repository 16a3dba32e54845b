import { keySlot } from '../../src/protocol/placement.ts'
import { freePort, startRedis } from './redis.ts'
import type { RedisOptions, RedisProcess } from './redis.ts'
import { until } from './until.ts'

export interface RedisClusterOptions {
  /** @default 3 */
  readonly masters?: number
  /** Whether each master has a replica, which takes its place when it dies. @default false */
  readonly replicas?: boolean
  /** How long a node may be silent before the others take it for dead. @default 1000 */
  readonly nodeTimeoutMs?: number
  /** For every node. */
  readonly redis?: RedisOptions
}

/** A Redis Cluster of a test, on ports of 127.0.0.1. `await using` stops it. */
export interface RedisCluster extends AsyncDisposable {
  /** `redis://127.0.0.1:PORT,…?cluster`, with all masters. */
  readonly url: string
  /** The nodes that were made masters: a failover changes roles, not these. */
  readonly masters: readonly RedisProcess[]
  /** `replicas[i]` was made to follow `masters[i]`. */
  readonly replicas: readonly RedisProcess[]
  /** The running node that is the master of the key's slot, as the first running node sees it. */
  masterOf(key: string): Promise<RedisProcess>
  /** Moves the key's slot, with all keys in it, to another master while clients go on. */
  moveSlot(key: string, to: RedisProcess): Promise<void>
  /** Resolves when every running node finds the Cluster in order. */
  whenInOrder(): Promise<void>
  stop(): Promise<void>
}

const slots = 16384

/** Starts the nodes, joins them, and resolves when all of them find the Cluster in order. */
export async function startRedisCluster(options: RedisClusterOptions = {}): Promise<RedisCluster> {
  const { masters: masterCount = 3, replicas: hasReplicas = false } = options
  const count = hasReplicas ? masterCount * 2 : masterCount
  const started = await Promise.allSettled(Array.from({ length: count }, () => startNode(options)))
  const nodes = started.filter(start => start.status === 'fulfilled').map(start => start.value)
  const stop = async () => {
    await Promise.all(nodes.map(node => node.stop()))
  }
  try {
    const failed = started.find(start => start.status === 'rejected')
    if (failed !== undefined) throw failed.reason as Error
    const cluster = new Nodes(
      nodes.slice(0, masterCount),
      nodes.slice(masterCount),
      nodes.map(node => node.redis),
    )
    await cluster.join()
    return Object.assign(cluster, { stop, [Symbol.asyncDispose]: stop })
  } catch (error) {
    await stop()
    throw error
  }
}

interface Node {
  readonly redis: RedisProcess
  readonly busPort: number
  stop(): Promise<void>
}

/** Between finding a free port for the bus and listening on it another test may take it: then choose again. */
async function startNode({ nodeTimeoutMs = 1000, redis: options = {} }: RedisClusterOptions): Promise<Node> {
  for (let attemptsLeft = 5; ; attemptsLeft--) {
    const busPort = await freePort()
    try {
      const redis = await startRedis({
        ...options,
        port: true,
        config: {
          'cluster-enabled': 'yes',
          'cluster-port': String(busPort),
          'cluster-node-timeout': String(nodeTimeoutMs),
          // A replica takes over however long it has been without its master, as soon as it can be elected.
          'cluster-replica-validity-factor': '0',
          'cluster-allow-replica-migration': 'no',
          'repl-diskless-sync-delay': '0',
          'repl-ping-replica-period': '1',
          ...options.config,
        },
      })
      return { redis, busPort, stop: () => redis.stop() }
    } catch (error) {
      if (attemptsLeft <= 1) throw error
    }
  }
}

class Nodes {
  readonly masters: readonly RedisProcess[]
  readonly replicas: readonly RedisProcess[]
  readonly url: string
  readonly #nodes: readonly Node[]
  readonly #all: readonly RedisProcess[]

  constructor(masters: readonly Node[], replicas: readonly Node[], all: readonly RedisProcess[]) {
    this.#nodes = [...masters, ...replicas]
    this.#all = all
    this.masters = masters.map(({ redis }) => redis)
    this.replicas = replicas.map(({ redis }) => redis)
    this.url = `redis://${this.masters.map(({ port }) => `127.0.0.1:${String(port)}`).join(',')}?cluster`
  }

  async join(): Promise<void> {
    const [first, ...others] = this.#nodes
    for (const { redis, busPort } of others)
      await first!.redis.cli('CLUSTER', 'MEET', '127.0.0.1', String(redis.port), String(busPort))
    const share = slots / this.masters.length
    for (const [index, master] of this.masters.entries()) {
      const from = Math.ceil(index * share)
      const to = Math.ceil((index + 1) * share) - 1
      await master.cli('CLUSTER', 'ADDSLOTSRANGE', String(from), String(to))
      // Two that claim the same epoch settle it between them, which takes time.
      await master.cli('CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1)).catch(() => undefined)
    }
    for (const [index, replica] of this.replicas.entries()) {
      const id = await this.masters[index]!.cli('CLUSTER', 'MYID')
      await until(async () => (await replica.cli('CLUSTER', 'REPLICATE', id)) === 'OK', {
        what: 'the replica knows its master',
      })
    }
    await this.whenInOrder()
    for (const replica of this.replicas) {
      await until(async () => (await replica.cli('INFO', 'replication')).includes('master_link_status:up'), {
        what: 'the replica follows its master',
      })
    }
  }

  async masterOf(key: string): Promise<RedisProcess> {
    const slot = keySlot(key)
    for (const node of this.#all) {
      const text = await node.cli('CLUSTER', 'NODES').catch(() => '')
      for (const line of text.split('\n')) {
        const [, address = '', flags = '', , , , , , ...ranges] = line.split(' ')
        if (!flags.includes('master') || flags.includes('fail')) continue
        const port = Number(/:(\d+)@/.exec(address)?.[1])
        if (ranges.some(range => isWithin(slot, range))) return this.#all.find(each => each.port === port)!
      }
    }
    throw new Error(`no running node has the slot ${slot} of ${key}`)
  }

  async moveSlot(key: string, to: RedisProcess): Promise<void> {
    const slot = String(keySlot(key))
    const from = await this.masterOf(key)
    const [fromId, toId] = await Promise.all([from.cli('CLUSTER', 'MYID'), to.cli('CLUSTER', 'MYID')])
    await to.cli('CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId)
    await from.cli('CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId)
    for (;;) {
      const keys = (await from.cli('CLUSTER', 'GETKEYSINSLOT', slot, '100')).split('\n').filter(Boolean)
      if (keys.length === 0) break
      await from.cli('MIGRATE', '127.0.0.1', String(to.port), '', '0', '5000', 'KEYS', ...keys)
    }
    for (const node of [to, from]) await node.cli('CLUSTER', 'SETSLOT', slot, 'NODE', toId)
  }

  async whenInOrder(): Promise<void> {
    for (const node of this.#all) {
      await until(async () => isInOrder(await node.cli('CLUSTER', 'INFO').catch(() => undefined), this.#all.length), {
        what: 'every running node finds the Cluster in order',
      })
    }
  }
}

/** A node that does not run has nothing to say. */
function isInOrder(info: string | undefined, nodes: number): boolean {
  if (info === undefined) return true
  return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${nodes}`)
}

function isWithin(slot: number, range: string): boolean {
  const [from = NaN, to = from] = range.split('-').map(Number)
  return slot >= from && slot <= to
}
