import { startRedis } from './redis.ts'
import type { RedisOptions, RedisProcess } from './redis.ts'
import { until } from './until.ts'

export interface SentinelOptions {
  /** @default 1 */
  readonly replicas?: number
  /** @default 3 */
  readonly sentinels?: number
  /** How long the master may be silent before the Sentinels take it for dead. @default 1000 */
  readonly downAfterMs?: number
  /** For the master and its replicas. */
  readonly redis?: RedisOptions
}

/** A master with replicas, watched by Sentinels, on ports of 127.0.0.1. `await using` stops them. */
export interface SentinelSetup extends AsyncDisposable {
  /** `redis://127.0.0.1:PORT,…?sentinel=millrace-test`, with all Sentinels. */
  readonly url: string
  /** Master first, as they were made: a failover changes roles, not these. */
  readonly servers: readonly RedisProcess[]
  readonly sentinels: readonly RedisProcess[]
  /** The server that the first running Sentinel calls the master now. */
  master(): Promise<RedisProcess>
  /** Has a replica promoted while the master lives. */
  handOver(): Promise<void>
  stop(): Promise<void>
}

const name = 'millrace-test'

/** Resolves when all Sentinels know each other and the replicas. */
export async function startSentinel(options: SentinelOptions = {}): Promise<SentinelSetup> {
  const { replicas = 1, sentinels: sentinelCount = 3, downAfterMs = 1000, redis } = options
  const servers: RedisProcess[] = []
  const sentinels: RedisProcess[] = []
  const stop = async () => {
    await Promise.all([...sentinels, ...servers].map(one => one.stop()))
  }
  const master = async () => {
    for (const sentinel of sentinels) {
      const reply = await sentinel.cli('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name).catch(() => '')
      const server = servers.find(({ port }) => reply.split('\n')[1] === String(port))
      if (server !== undefined) return server
    }
    throw new Error('no Sentinel knows the master')
  }
  const handOver = async () => {
    await until(async () => (await sentinels[0]!.cli('SENTINEL', 'FAILOVER', name)) === 'OK', {
      what: 'the Sentinel has a replica to promote',
    })
  }
  try {
    const first = await startServer(redis)
    servers.push(first)
    for (let i = 0; i < replicas; i++) servers.push(await startServer(redis, first))
    for (const replica of servers.slice(1)) {
      await until(async () => (await replica.cli('INFO', 'replication')).includes('master_link_status:up'), {
        what: 'the replica follows the master',
      })
    }
    for (let i = 0; i < sentinelCount; i++) {
      const quorum = Math.floor(sentinelCount / 2) + 1
      sentinels.push(await startSentinelProcess(first, quorum, downAfterMs))
    }
    for (const sentinel of sentinels)
      await until(() => knowsAll(sentinel, replicas, sentinelCount), { what: 'the Sentinels know all' })
    const url = `redis://${sentinels.map(({ port }) => `127.0.0.1:${String(port)}`).join(',')}?sentinel=${name}`
    return { url, servers, sentinels, master, handOver, stop, [Symbol.asyncDispose]: stop }
  } catch (error) {
    await stop()
    throw error
  }
}

function startServer(redis: RedisOptions = {}, master?: RedisProcess): Promise<RedisProcess> {
  return startRedis({
    ...redis,
    port: true,
    config: {
      'repl-diskless-sync-delay': '0',
      'repl-ping-replica-period': '1',
      ...(master === undefined ? {} : { replicaof: `127.0.0.1 ${String(master.port)}` }),
      ...redis.config,
    },
  })
}

function startSentinelProcess(master: RedisProcess, quorum: number, downAfterMs: number): Promise<RedisProcess> {
  return startRedis({
    port: true,
    args: ['--sentinel'],
    config: {
      'sentinel monitor': `${name} 127.0.0.1 ${String(master.port)} ${quorum}`,
      'sentinel down-after-milliseconds': `${name} ${downAfterMs}`,
      'sentinel failover-timeout': `${name} 2000`,
    },
  })
}

async function knowsAll(sentinel: RedisProcess, replicas: number, sentinels: number): Promise<boolean> {
  const lines = (await sentinel.cli('SENTINEL', 'MASTER', name)).split('\n')
  const facts = new Map(lines.flatMap((line, at) => (at % 2 === 0 ? [[line, lines[at + 1] ?? ''] as const] : [])))
  return facts.get('num-slaves') === String(replicas) && facts.get('num-other-sentinels') === String(sentinels - 1)
}
