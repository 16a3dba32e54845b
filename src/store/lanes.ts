import type { Redis } from 'ioredis'
import { RedisUnreachableError } from '../errors.ts'
import { laneTag } from '../protocol/keys.ts'
import { keySlot, laneOfJob, proposeLanes } from '../protocol/placement.ts'
import { isReady, openClient, whenReady } from './client.ts'
import type { Client, ClientRole } from './client.ts'
import { ClusterMap } from './cluster-map.ts'
import { refuseClusterNode } from './inspect/server.ts'
import { LaneStore } from './lane-store.ts'
import { describeTarget } from './target.ts'
import type { RedisTarget } from './target.ts'

export interface LanesOptions {
  readonly target: RedisTarget
  readonly namespace: string
  readonly queue: string
  readonly role: ClientRole
  /** Called with each connection as it is opened, and the lane that it is for; a single server has one for all, opened for lane 0. */
  readonly onOpen: (client: Client, lane: number) => void
}

/** How long a server of a Cluster may take to be reached when all of them are asked something. */
const serverWithinMs = 5000
const ignore = () => undefined

/**
 * A queue's lanes, as one process or thread knows them: which there are, and each over a connection to the server that
 * has it. A single server has one lane; in a Cluster the first who comes makes one for each master. The list stands in
 * every lane's Hash and only ever grows, see the script `agreeLanes`.
 */
export class Lanes {
  readonly target: RedisTarget
  readonly #options: LanesOptions
  readonly #stores = new Map<number, LaneStore>()
  readonly #clients = new Map<number, Client>()
  #numbers: readonly number[] = [0]

  /** Connects to nothing yet. `known`: the list, where the caller has it from somebody who found it. */
  constructor(options: LanesOptions, known: readonly number[] = [0]) {
    this.#options = options
    this.target = options.target
    this.adopt(known)
  }

  /** The lanes that are known, ascending. */
  get numbers(): readonly number[] {
    return this.#numbers
  }

  /** Lane 0, which every queue has. */
  get first(): LaneStore {
    return this.of(0)
  }

  get all(): readonly LaneStore[] {
    return this.#numbers.map(lane => this.of(lane))
  }

  get clients(): readonly Client[] {
    return [...this.#clients.values()]
  }

  /** A lane, connected to when it is first asked for. */
  of(lane: number): LaneStore {
    let store = this.#stores.get(lane)
    if (store === undefined) {
      const { namespace, queue } = this.#options
      store = new LaneStore(this.#clientFor(lane), { namespace, queue, lane })
      this.#stores.set(lane, store)
    }
    return store
  }

  /** Where a new job with this id goes. */
  forNewJob(id: string): LaneStore {
    return this.of(laneOfJob(id, this.#numbers))
  }

  /**
   * The lane that has this job: the one where it would go if it were new, unless the list was shorter when it began.
   * Without a job that is where it would go. Waits for lanes that can't be reached just now, unless `reachable` says
   * that the others are enough: a new job need not wait because one of the same id may have begun on another list.
   */
  async find(id: string, { reachable = false }: { readonly reachable?: boolean } = {}): Promise<LaneStore> {
    const likely = this.forNewJob(id)
    if (this.#numbers.length === 1 || (await likely.parts.hasPart(id))) return likely
    const others = this.all.filter(store => store !== likely && (!reachable || isReady(store.client)))
    const found = await Promise.all(others.map(store => store.parts.hasPart(id)))
    return others.find((_, index) => found[index]) ?? likely
  }

  /** Whether others may come to know of more lanes. A single server has its one lane for good. */
  get mayGrow(): boolean {
    return this.target.kind === 'cluster' || this.#numbers.length > 1
  }

  // The list ------------------------------------------------------------------------------------------------------------

  /** Adds lanes that somebody else knows of. True when there are new ones. */
  adopt(numbers: readonly number[]): boolean {
    const union = [...new Set([...this.#numbers, ...numbers])].sort((a, b) => a - b)
    const grown = union.length > this.#numbers.length
    if (grown) this.#numbers = union
    return grown
  }

  /**
   * Finds out which lanes the queue has, and connects to them. Only reads.
   *
   * @throws {RedisUnreachableError} when a lane's server does not answer in time.
   * @throws {UsageError} for a node of a Cluster that is given as the one server: it has some of the keys at most.
   */
  async learn(withinMs: number): Promise<void> {
    const deadline = performance.now() + withinMs
    await this.reach(withinMs)
    if (this.target.kind === 'single') await refuseClusterNode(this.first.client)
    const stored = await this.first.readLanes()
    this.adopt(stored.length > 0 ? stored : await this.#propose())
    await this.reach(deadline - performance.now())
  }

  /** The same, and makes the list when there is none. @throws {RedisUnreachableError} */
  async start(withinMs: number): Promise<void> {
    const deadline = performance.now() + withinMs
    await this.learn(withinMs)
    while (await this.agree()) await this.reach(deadline - performance.now())
  }

  /** Tells the lanes that can be reached which there are, and learns what they know. True when there are new ones. */
  async agree(): Promise<boolean> {
    if (!this.mayGrow) return false
    const known = this.#numbers
    const ready = this.all.filter(({ client }) => isReady(client))
    // One whose server refuses writes just now is told the next time.
    const replies = await Promise.allSettled(ready.map(store => store.agreeLanes(known)))
    return this.adopt(replies.flatMap(reply => (reply.status === 'fulfilled' ? reply.value : [])))
  }

  async #propose(): Promise<readonly number[]> {
    const { target } = this
    if (target.kind === 'single') return [0]
    const { masters, masterOf } = await new ClusterMap(target).read()
    const name = (slot: number) => {
      const master = masterOf(slot)
      return master && `${master.host}:${master.port}`
    }
    return proposeLanes(this.#options, name, masters.length)
  }

  // Connections -----------------------------------------------------------------------------------------------------------

  /** Calls `use` with a connection to every server that holds keys: the one, or the masters of a Cluster. */
  async withServers<T>(use: (servers: readonly Redis[]) => Promise<T>): Promise<T> {
    const { target, role } = this.#options
    if (target.kind === 'single') return use([this.first.client])
    const { masters } = await new ClusterMap(target).read()
    const servers = masters.map(node => {
      const server = openClient(target, { name: role.name, silenceMs: role.silenceMs }, { node })
      // For messages: the client itself does not know where its connector led.
      Object.assign(server.options, node)
      server.on('error', ignore)
      return server
    })
    try {
      const ready = await Promise.all(servers.map(server => whenReady(server, serverWithinMs)))
      const missing = masters.filter((_, index) => ready[index] !== true)
      if (missing.length > 0) {
        throw new RedisUnreachableError(
          `${missing.map(({ host, port }) => `${host}:${port}`).join(', ')}, of ${describeTarget(target)}, did not answer within ${serverWithinMs} ms: it is down, or a failover is under way. Try again when \`redis-cli cluster info\` says ok.`,
        )
      }
      return await use(servers)
    } finally {
      for (const server of servers) server.disconnect()
    }
  }

  disconnect(): void {
    for (const client of this.#clients.values()) client.disconnect()
  }

  /** Resolves when the lanes that are known can be reached. @throws {RedisUnreachableError} when one can't in time. */
  async reach(withinMs: number): Promise<void> {
    const ready = await Promise.all(this.all.map(({ client }) => whenReady(client, Math.max(1, withinMs))))
    if (ready.every(Boolean)) return
    throw new RedisUnreachableError(`${describeTarget(this.#options.target)} did not answer in time.`)
  }

  #clientFor(lane: number): Client {
    const { target, role, onOpen, namespace, queue } = this.#options
    const at = target.kind === 'single' ? 0 : lane
    let client = this.#clients.get(at)
    if (client === undefined) {
      client = openClient(target, role, { slot: keySlot(laneTag({ namespace, queue, lane })) })
      this.#clients.set(at, client)
      onOpen(client, at)
    }
    return client
  }
}
