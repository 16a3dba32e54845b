import type { ClusterNode, ClusterOptions, RedisOptions } from 'ioredis'
import { RedisUnreachableError, UsageError } from '../errors.ts'
import { addressing } from './addressing.ts'
import type { Addressing } from './addressing.ts'
import { refusesUser } from './reply-error.ts'

/** What a user may give as `redis`: a URL, ioredis options (with `sentinels` for Sentinel), Cluster nodes, or an ioredis instance. */
export type RedisInput = string | URL | RedisOptions | ClusterInput | RedisInstance

/** A Redis Cluster: some of its nodes, and ioredis's Cluster options. */
export interface ClusterInput {
  readonly cluster: readonly ClusterNode[]
  readonly options?: ClusterOptions
}

/** A `Redis` or `Cluster` of ioredis. Known by its shape: the program's copy of ioredis need not be ours, nor of our version. */
export interface RedisInstance {
  readonly options: object
  duplicate(): unknown
}

/** Where Redis is, as plain data that can be described to another process. */
export type RedisTarget = SingleTarget | ClusterTarget

/** One server, or with `sentinels` the master that they name. */
export interface SingleTarget {
  readonly kind: 'single'
  readonly options: Addressing
}

export interface ClusterTarget {
  readonly kind: 'cluster'
  /** Some of its nodes: the others are learned from them. */
  readonly nodes: readonly NodeAddress[]
  /** How to connect to each of its nodes. */
  readonly options: Addressing
  /** From the address that a node says it has to the one under which it can be reached. */
  readonly natMap?: NatMap | undefined
}

export interface NodeAddress {
  readonly host: string
  readonly port: number
}

type NatMap = ((address: string) => NodeAddress | null) | Readonly<Record<string, NodeAddress>>

/**
 * What the user gave, as a target. We always open connections of our own with our own settings, so of an instance
 * only those options are taken that say where it connects to.
 *
 * @throws {UsageError} for a bad URL, options that name no place, or a `keyPrefix`, which would move every declared key.
 */
export function redisTarget(input: RedisInput): RedisTarget {
  if (typeof input === 'string') return parseUrl(input)
  if (input instanceof URL) return parseUrl(input.href)
  if ('duplicate' in input) return instanceTarget(input)
  return 'cluster' in input ? clusterTarget(input.cluster, input.options) : singleTarget(input)
}

function instanceTarget(instance: RedisInstance): RedisTarget {
  if (!('startupNodes' in instance)) return singleTarget(instance.options)
  const cluster = instance as RedisInstance & ClusterInstance
  const seen = cluster.nodes('all').map(({ options: { host = '127.0.0.1', port = 6379 } }) => ({ host, port }))
  // What it was made with; before it has connected that is all there is.
  return clusterTarget([...seen, ...cluster.startupNodes], cluster.options)
}

interface ClusterInstance {
  readonly options: ClusterOptions
  readonly startupNodes: readonly ClusterNode[]
  nodes(role: 'all'): readonly { readonly options: RedisOptions }[]
}

function singleTarget(given: RedisOptions): SingleTarget {
  refusePrefix(given)
  const options = addressing(given)
  // The client would take its default, and the jobs would land in whatever Redis runs on this machine.
  if (!['host', 'port', 'path', 'sentinels', 'Connector'].some(name => name in options))
    throw new UsageError(
      'The redis option does not say where Redis is: give a URL such as redis://host:6379, ioredis options with host, port, path or sentinels, { cluster: [{ host, port }] }, or an ioredis instance.',
    )
  return { kind: 'single', options }
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

/** Of the Cluster client's own options only those are taken that say how to reach its nodes. */
function clusterTarget(given: readonly ClusterNode[], options: ClusterOptions = {}): ClusterTarget {
  const nodes = given.map(nodeAddress)
  if (nodes.length === 0)
    throw new UsageError('No node of the Redis Cluster is given: its other nodes are learned from one at least.')
  const { redisOptions = {}, natMap } = options
  refusePrefix(options)
  refusePrefix(redisOptions)
  return {
    kind: 'cluster',
    nodes,
    options: addressing(redisOptions),
    ...(natMap == null ? {} : { natMap: natMap }),
  }
}

function refusePrefix({ keyPrefix }: { readonly keyPrefix?: string | undefined }): void {
  if (keyPrefix === undefined || keyPrefix === '') return
  throw new UsageError(
    `A Redis connection with keyPrefix ${JSON.stringify(keyPrefix)} can't be used: scripts name their keys in full. Use the namespace option of connect() instead.`,
  )
}

function nodeAddress(node: ClusterNode): NodeAddress {
  if (typeof node === 'number') return { host: '127.0.0.1', port: node }
  if (typeof node === 'string') return hostAndPort(/^\w+:\/\//.test(node) ? new URL(node) : parseHost(node))
  return { host: node.host ?? '127.0.0.1', port: node.port ?? 6379 }
}

/**
 * `redis://user:password@host:port/db`, with `?cluster` for a Cluster and `?sentinel=NAME` for Sentinel, which both may
 * name several hosts: `redis://one:7000,two:7000?cluster`.
 */
function parseUrl(text: string): RedisTarget {
  if (text.startsWith('/')) return { kind: 'single', options: { path: text } }
  const shown = JSON.stringify(withoutUser(text))
  const [, before = '', hosts = '', after = ''] = /^(rediss?:\/\/(?:[^@/?]*@)?)([^/?]*)(.*)$/.exec(text) ?? []
  const [firstHost = '', ...otherHosts] = hosts.split(',')
  let url: URL
  let others: NodeAddress[]
  try {
    url = new URL(before === '' ? text : before + firstHost + after)
    others = otherHosts.map(host => hostAndPort(parseHost(host)))
  } catch {
    throw new UsageError(
      `${shown} is not a Redis URL: write redis://host:port, rediss://host:port for TLS, unix:///path/to/socket, redis://host:port,host:port?cluster for a Redis Cluster, or redis://host:port,host:port?sentinel=NAME for Sentinel.`,
    )
  }
  const options = urlOptions(shown, url)
  if (url.protocol === 'unix:') return { kind: 'single', options: { ...options, path: decoded(shown, url.pathname) } }
  const first = hostAndPort(url)
  const master = url.searchParams.get('sentinel')
  if (url.searchParams.has('cluster')) return { kind: 'cluster', nodes: [first, ...others], options }
  if (master !== null && master !== '') {
    // A Sentinel without a port is at the usual one of Sentinels.
    const sentinels = hosts.split(',').map(host => hostAndPort(parseHost(host), 26_379))
    const tls = options.tls === undefined ? {} : { sentinelTLS: {}, enableTLSForSentinelMode: true }
    return { kind: 'single', options: { ...options, ...tls, sentinels, name: master } }
  }
  if (others.length > 0) {
    throw new UsageError(
      `The Redis URL ${shown} names several hosts: end it with ?cluster when they are nodes of a Redis Cluster, or with ?sentinel=NAME when they are Sentinels that watch the master NAME.`,
    )
  }
  return { kind: 'single', options: { ...options, ...first } }
}

function urlOptions(shown: string, url: URL): Addressing {
  if (url.protocol !== 'unix:' && url.protocol !== 'redis:' && url.protocol !== 'rediss:')
    throw new UsageError(`${shown} is not a Redis URL: its scheme must be redis:, rediss: or unix:.`)
  const db = Number(url.searchParams.get('db') ?? (url.protocol === 'unix:' ? 0 : url.pathname.slice(1) || 0))
  if (!Number.isInteger(db) || db < 0)
    throw new UsageError(
      `The Redis URL ${shown} names no database number: its path is the number, as in redis://host:6379/0.`,
    )
  if (db > 0 && url.searchParams.has('cluster'))
    throw new UsageError(`The Redis URL ${shown} names database ${db}, but a Redis Cluster has only 0.`)
  return {
    ...(url.username === '' ? {} : { username: decoded(shown, url.username) }),
    ...(url.password === '' ? {} : { password: decoded(shown, url.password) }),
    ...(url.protocol === 'rediss:' ? { tls: {} } : {}),
    db,
  }
}

function decoded(shown: string, part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw new UsageError(`The Redis URL ${shown} has a % that begins no escape: write %25 for the sign itself.`)
  }
}

/** For messages: whatever may be a user and a password is left out, also where the text is no URL. */
function withoutUser(text: string): string {
  return text.replace(/^(\w+:\/\/)?.*@/s, '$1…@')
}

function parseHost(host: string): URL {
  return new URL(`redis://${host}`)
}

function hostAndPort({ hostname, port }: URL, usualPort = 6379): NodeAddress {
  return {
    host: hostname === '' ? '127.0.0.1' : hostname.replace(/^\[(.*)\]$/, '$1'),
    port: port === '' ? usualPort : Number(port),
  }
}

/** The target in a few words for messages, without credentials. */
export function describeTarget(target: RedisTarget): string {
  if (target.kind === 'cluster') {
    return `Redis Cluster at ${target.nodes.map(({ host, port }) => `${host}:${port}`).join(', ')}`
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
  const needed: readonly string[] = ['Connector', 'checkServerIdentity', 'natMap']
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
