import { startRedisCluster } from '../../test/support/redis-cluster.ts'
import type { RedisCluster } from '../../test/support/redis-cluster.ts'
import type { RedisProcess } from '../../test/support/redis.ts'
import { until } from '../../test/support/until.ts'
import { pick } from '../random.ts'
import type { Persistence, ReplicatedServer } from '../server.ts'
import { persisting } from './persisting.ts'
import { isMaster, whenItFollows } from './roles.ts'

export async function startCluster(persistence: Persistence): Promise<ReplicatedServer> {
  return new ClusterServer(await startRedisCluster({ replicas: true, redis: persisting(persistence) }), persistence)
}

class ClusterServer implements ReplicatedServer {
  readonly kind = 'cluster'
  readonly persistence: Persistence
  readonly #cluster: RedisCluster

  constructor(cluster: RedisCluster, persistence: Persistence) {
    this.#cluster = cluster
    this.persistence = persistence
  }

  get url(): string {
    return this.#cluster.url
  }

  async ask(key: string, ...command: string[]): Promise<string> {
    return (await this.#cluster.masterOf(key)).cli(...command)
  }

  async askAll(...command: string[]): Promise<readonly string[]> {
    return Promise.all((await this.#masters()).map(master => master.cli(...command)))
  }

  async failOver(dice: () => number): Promise<string> {
    const { masters, replicas } = this.#cluster
    const number = Math.floor(dice() * masters.length)
    const pair = [masters[number], replicas[number]].filter(node => node !== undefined)
    const master = pick(dice, await filterMasters(pair))
    const heir = pair.find(node => node !== master)
    if (heir === undefined) throw new Error('a master has no replica')
    await master.kill()
    const begun = performance.now()
    await until(() => isMaster(heir), { what: 'the replica has taken over', timeoutMs: 30_000 })
    const tookMs = Math.round(performance.now() - begun)
    await master.restart()
    await whenItFollows(master)
    await this.#cluster.whenInOrder()
    return `127.0.0.1:${heir.port} took over after ${tookMs} ms`
  }

  stop(): Promise<void> {
    return this.#cluster.stop()
  }

  #masters(): Promise<readonly RedisProcess[]> {
    return filterMasters([...this.#cluster.masters, ...this.#cluster.replicas])
  }
}

async function filterMasters(nodes: readonly RedisProcess[]): Promise<RedisProcess[]> {
  // One that is down is none.
  const found = await Promise.all(nodes.map(node => isMaster(node).catch(() => false)))
  return nodes.filter((_, index) => found[index])
}
