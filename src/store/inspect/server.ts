import type { Redis } from 'ioredis'
import { EvictionPolicyError, RedisVersionError, UsageError } from '../../errors.ts'
import type { RedisTarget } from '../target.ts'
import { addressOf, readInfo, readSetting } from './info.ts'
import type { Info } from './info.ts'

/** What the server is, as far as it decides whether it can be used. */
export interface ServerFacts {
  readonly product: 'Redis' | 'Valkey'
  readonly version: string
  readonly supported: boolean
  /** 0: no limit; NaN where the server does not say. */
  readonly maxMemoryBytes: number
  readonly usedMemoryBytes: number
  /** '' where the server does not say. */
  readonly evictionPolicy: string
}

/**
 * Refuses a server that would give wrong or lost work, before anything is written.
 *
 * @throws {RedisVersionError} when it is older than Redis 7.0 or Valkey 7.2.
 * @throws {EvictionPolicyError} when it deletes keys to make room.
 * @throws {UsageError} when it is a node of a Cluster, and is used as if it were all there is.
 */
export async function checkServers(servers: readonly Redis[], kind: RedisTarget['kind']): Promise<void> {
  for (const server of servers) {
    if (kind === 'single') await refuseClusterNode(server)
    const facts = await readServer(server)
    if (!facts.supported) throw new RedisVersionError(versionProblem(facts))
    if (evicts(facts)) throw new EvictionPolicyError(`${evictionProblem(facts)} ${evictionCure}`)
  }
}

/** @throws {UsageError} for a node of a Cluster, which is there to be used as if it were all. */
export async function refuseClusterNode(server: Redis): Promise<void> {
  const info = await readInfo(server, 'cluster')
  if (info.text('cluster_enabled') === '1') throw new UsageError(clusterProblem(addressOf(server)))
}

export async function readServer(server: Redis): Promise<ServerFacts> {
  const info = await readInfo(server, 'server', 'memory')
  const policy = info.text('maxmemory_policy') ?? (await readSetting(server, 'maxmemory-policy')) ?? ''
  const limit = info.number('maxmemory')
  return {
    ...productOf(info),
    maxMemoryBytes: Number.isNaN(limit) ? Number((await readSetting(server, 'maxmemory')) ?? NaN) : limit,
    usedMemoryBytes: info.number('used_memory'),
    evictionPolicy: policy,
  }
}

/**
 * Whether the server deletes keys when it reaches its limit. One without a limit never does. A policy that only takes
 * keys with an expiry would take parked jobs and finished results, and counts.
 */
export function evicts({
  evictionPolicy,
  maxMemoryBytes,
}: Pick<ServerFacts, 'evictionPolicy' | 'maxMemoryBytes'>): boolean {
  return evictionPolicy !== '' && evictionPolicy !== 'noeviction' && maxMemoryBytes !== 0
}

export function evictionProblem({ evictionPolicy }: ServerFacts): string {
  return `This Redis deletes keys when its memory is full (maxmemory-policy ${evictionPolicy}), so that it would delete waiting tasks and results.`
}

export const evictionCure =
  'Set it to noeviction: run `redis-cli config set maxmemory-policy noeviction` and put the same into redis.conf (on a managed Redis, into its parameter group), or use another Redis for Millrace than for caching.'

function clusterProblem(address: string): string {
  return `${address} is a node of a Redis Cluster, and keeps only a part of the keys. End its URL with ?cluster, as in redis://${address}?cluster, or give { cluster: [{ host, port }] }.`
}

export function versionProblem({ product, version }: ServerFacts): string {
  return `${product} ${version} is too old: Millrace needs Redis 7.0 or Valkey 7.2 at least, whose scripts can go on when memory is full. Upgrade the server, or leave out the redis option for an embedded one.`
}

function productOf(info: Info): Pick<ServerFacts, 'product' | 'version' | 'supported'> {
  // Valkey reports a redis_version of 7.2.4 as well, for the sake of old clients.
  const valkey = info.text('valkey_version')
  const version = valkey ?? info.text('redis_version') ?? '(unknown version)'
  const [major = 0, minor = 0] = version.split('.').map(Number)
  // A server that hides its version is given the benefit of the doubt: its first script will tell.
  const supported = Number.isNaN(major) || major > 7 || (major === 7 && (valkey === undefined || minor >= 2))
  return { product: valkey === undefined ? 'Redis' : 'Valkey', version, supported }
}
