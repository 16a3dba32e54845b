import { RedisUnreachableError } from '../errors.ts'
import { Redis } from './ioredis.ts'
import type { ClusterTarget, NodeAddress } from './target.ts'

/** Who has which slots, as one node of a Redis Cluster sees it. */
export interface Topology {
  /** The masters that have slots. */
  readonly masters: readonly NodeAddress[]
  /** The master that has the slot; undefined while nobody has. */
  readonly masterOf: (slot: number) => NodeAddress | undefined
}

/** A node that does not answer within this is passed over. */
const answerWithinMs = 1500

/** Finds out who has which slots of a Redis Cluster, from whichever node answers. */
export class ClusterMap {
  readonly #target: ClusterTarget
  #nodes: readonly NodeAddress[]

  constructor(target: ClusterTarget) {
    this.#target = target
    this.#nodes = target.nodes
  }

  /** @throws {RedisUnreachableError} when no node answers that is in a majority and finds the Cluster in order. */
  async read(): Promise<Topology> {
    return (await this.#ask()).topology
  }

  /** Any node that answers, for what can be had from each of them. @throws {RedisUnreachableError} */
  async anyNode(): Promise<NodeAddress> {
    return (await this.#ask()).node
  }

  async #ask(): Promise<{ node: NodeAddress; topology: Topology }> {
    // One that was cut off may give an old map: with a chance for each, the next attempt asks another.
    const candidates = shuffled([...this.#nodes, ...this.#target.nodes])
    let reason: unknown
    for (const node of candidates) {
      try {
        const ranges = await this.#readSlots(node)
        this.#nodes = unique(ranges.flatMap(({ nodes }) => nodes))
        return { node, topology: topologyOf(ranges) }
      } catch (error) {
        reason = error
      }
    }
    const why = reason instanceof Error ? `: ${reason.message}` : ''
    throw new RedisUnreachableError(
      `No node of the Redis Cluster answers and finds the Cluster in order${why}. Look at \`redis-cli cluster info\`.`,
      { cause: reason },
    )
  }

  async #readSlots(node: NodeAddress): Promise<readonly SlotRange[]> {
    const client = openNode(this.#target, node)
    let broken: Error | undefined
    client.on('error', error => {
      broken = error
    })
    try {
      const [info, slots] = await Promise.all([client.call('cluster', 'info'), client.call('cluster', 'slots')])
      if (!String(info).includes('cluster_state:ok'))
        throw new Error(`${node.host}:${node.port} says that the Cluster is down`)
      return decodeSlots(slots, node, this.#target.natMap)
    } catch (error) {
      // The commands themselves are only told that the connection is closed.
      throw broken ?? error
    } finally {
      client.disconnect()
    }
  }
}

/** A connection to one node, for a few questions: it does not try again. */
function openNode({ options }: ClusterTarget, node: NodeAddress): Redis {
  return new Redis({
    ...options,
    ...node,
    retryStrategy: () => null,
    enableReadyCheck: false,
    maxRetriesPerRequest: null,
    connectTimeout: answerWithinMs,
    commandTimeout: answerWithinMs,
    disableClientInfo: true,
    replyMapping: 'legacy',
  })
}

interface SlotRange {
  readonly from: number
  readonly to: number
  /** The master first. */
  readonly nodes: readonly NodeAddress[]
}

/** The reply of CLUSTER SLOTS: `[from, to, [host, port, …], …]` for each range. A node that does not know its own address leaves it empty. */
function decodeSlots(reply: unknown, asked: NodeAddress, natMap: ClusterTarget['natMap']): SlotRange[] {
  if (!Array.isArray(reply)) return []
  return reply.map((range: readonly unknown[]) => {
    const [from, to, ...nodes] = range
    return {
      from: Number(from),
      to: Number(to),
      nodes: nodes.map(entry => {
        const [host, port] = entry as readonly [string | null, number | string]
        const node = { host: host === null || host === '' ? asked.host : host, port: Number(port) }
        const key = `${node.host}:${node.port}`
        return (typeof natMap === 'function' ? natMap(key) : natMap?.[key]) ?? node
      }),
    }
  })
}

function topologyOf(ranges: readonly SlotRange[]): Topology {
  return {
    masters: unique(ranges.flatMap(({ nodes }) => nodes.slice(0, 1))),
    masterOf: slot => ranges.find(({ from, to }) => slot >= from && slot <= to)?.nodes[0],
  }
}

function unique(nodes: readonly NodeAddress[]): NodeAddress[] {
  return [...new Map(nodes.map(({ host, port }) => [`${host}:${port}`, { host, port }])).values()]
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map(item => ({ item, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)
}
