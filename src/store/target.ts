import { Cluster, Redis } from 'ioredis'
import type { ClusterNode, ClusterOptions, RedisOptions } from 'ioredis'
import { RedisUnreachableError, UsageError } from '../errors.ts'
import { refusesUser } from './reply-error.ts'

/** What a user may give as `redis`: a URL, ioredis options (with `sentinels` for Sentinel), Cluster nodes, or an ioredis instance. */
export type RedisInput = string | RedisOptions | ClusterInput | Redis | Cluster

/** A Redis Cluster: some of its nodes, and ioredis's Cluster options. */
export interface ClusterInput {
  readonly cluster: readonly ClusterNode[]
  readonly options?: ClusterOptions
}

/** Where Redis is, as plain data that can be described to another process. */
export type RedisTarget =
  | { readonly kind: 'single'; readonly options: RedisOptions }
  | { readonly kind: 'cluster'; readonly nodes: readonly ClusterNode[]; readonly options: ClusterOptions }

/**
 * What the user gave, as a target. We always open connections of our own with our own settings, so of an instance
 * only its options are taken.
 *
 * @throws {UsageError} for a bad URL, or for a `keyPrefix`, which would move every declared key.
 */
export function redisTarget(input: RedisInput): RedisTarget {
  const target = describe(input)
  const { keyPrefix } = target.options as { keyPrefix?: string }
  if (keyPrefix !== undefined && keyPrefix !== '') {
    throw new UsageError(
      `A Redis connection with keyPrefix ${JSON.stringify(keyPrefix)} can't be used: scripts name their keys in full. Use the namespace option of connect() instead.`,
    )
  }
  return target
}

/** Why a Redis can't be used, and what to do, from what its connection reported last. */
export function unreachable(where: string, withinMs: number, lastError: unknown): RedisUnreachableError {
  const said = lastError instanceof Error ? lastError.message.replace(/\.$/, '') : ''
  const reason = said === '' ? '' : ` (${said})`
  const message = refusesUser(lastError)
    ? `${where} refuses this user or password${reason}. Give the right ones in its URL, redis://user:password@host:port, and the user all commands, keys and channels of the namespace.`
    : `${where} could not be reached within ${withinMs / 1000} s${reason}. Check that it runs and that the address is right, or leave out --redis (in a program, the redis option) and REDIS_URL for an embedded one.`
  return new RedisUnreachableError(message, { cause: lastError })
}

function describe(input: RedisInput): RedisTarget {
  if (typeof input === 'string') return { kind: 'single', options: parseUrl(input) }
  if (input instanceof Cluster) {
    return {
      kind: 'cluster',
      nodes: input
        .nodes('all')
        .map(node => ({ host: node.options.host ?? '127.0.0.1', port: node.options.port ?? 6379 })),
      options: input.options,
    }
  }
  if (input instanceof Redis) return { kind: 'single', options: input.options }
  if ('cluster' in input) return { kind: 'cluster', nodes: input.cluster, options: input.options ?? {} }
  return { kind: 'single', options: input }
}

function parseUrl(text: string): RedisOptions {
  if (text.startsWith('/')) return { path: text }
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw new UsageError(
      `${JSON.stringify(text)} is not a Redis URL: write redis://host:port, rediss://host:port for TLS, or unix:///path/to/socket.`,
    )
  }
  const credentials: RedisOptions = {
    ...(url.username === '' ? {} : { username: decodeURIComponent(url.username) }),
    ...(url.password === '' ? {} : { password: decodeURIComponent(url.password) }),
  }
  const db = Number(url.searchParams.get('db') ?? (url.protocol === 'unix:' ? 0 : url.pathname.slice(1) || 0))
  if (!Number.isInteger(db) || db < 0)
    throw new UsageError(
      `The Redis URL ${JSON.stringify(text)} names no database number: its path is the number, as in redis://host:6379/0.`,
    )
  switch (url.protocol) {
    case 'unix:':
      return { ...credentials, db, path: decodeURIComponent(url.pathname) }
    case 'redis:':
    case 'rediss:':
      return {
        ...credentials,
        db,
        host: url.hostname === '' ? '127.0.0.1' : url.hostname.replace(/^\[(.*)\]$/, '$1'),
        port: url.port === '' ? 6379 : Number(url.port),
        ...(url.protocol === 'rediss:' ? { tls: {} } : {}),
      }
    default:
      throw new UsageError(`${JSON.stringify(text)} is not a Redis URL: its scheme must be redis:, rediss: or unix:.`)
  }
}

/** The target in a few words for messages, without credentials. */
export function describeTarget(target: RedisTarget): string {
  if (target.kind === 'cluster') {
    return `Redis Cluster at ${target.nodes.map(node => (typeof node === 'object' ? `${node.host ?? '127.0.0.1'}:${node.port ?? 6379}` : String(node))).join(', ')}`
  }
  const { path, host, port, sentinels, name } = target.options
  if (sentinels) return `Redis master ${JSON.stringify(name ?? '')} of Sentinel`
  return path === undefined ? `Redis at ${host ?? '127.0.0.1'}:${port ?? 6379}` : `Redis at ${path}`
}

/**
 * The target as it can be sent to another process by structured clone: what is a function stays behind.
 *
 * @throws {UsageError} when a function is needed to connect, such as a custom connector or a TLS check.
 */
export function portableTarget(target: RedisTarget): RedisTarget {
  const needed: readonly string[] = ['Connector', 'checkServerIdentity', 'natMap', 'dnsLookup']
  const strip = (value: unknown, path: string): unknown => {
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value
    if (Array.isArray(value)) return value.map((item, index) => strip(item, `${path}[${index}]`))
    const copy: Record<string, unknown> = {}
    for (const [key, item] of Object.entries(value)) {
      if (typeof item === 'function') {
        if (needed.includes(key)) {
          throw new UsageError(
            `The redis option ${path}${key} is a function, which a local worker in another process can't be given. Pass a URL or plain options, or threads: 0 and start workers yourself.`,
          )
        }
        continue
      }
      copy[key] = strip(item, `${path}${key}.`)
    }
    return copy
  }
  return strip(target, '') as RedisTarget
}
