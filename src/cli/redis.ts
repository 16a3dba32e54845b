import { acquireEmbeddedRedis, projectDirectory } from '../embedded/embedded-redis.ts'
import { openClient, whenReady, type Client } from '../store/client.ts'
import { LaneStore } from '../store/lane-store.ts'
import { describeTarget, redisTarget, unreachable } from '../store/target.ts'
import type { RedisFlags } from './options.ts'

/** Somebody waits for these commands, and a Redis that is there answers in milliseconds. */
const CONNECT_TIMEOUT_MS = 3_000
const SILENCE_MS = 10_000

/** The Redis that a command works with. */
export interface FoundRedis {
  /** A URL, or the path of a socket. */
  readonly redis: string
  /** In words, without a password: `Redis at 127.0.0.1:6379`, `the embedded Redis of /home/me/project`. */
  readonly where: string
}

/** Calls `use` with the Redis that the command line names, or with the embedded one, which is held until `use` has ended. */
export async function withRedisServer<T>(flags: RedisFlags, use: (found: FoundRedis) => Promise<T>): Promise<T> {
  if (flags.redis !== undefined) return use({ redis: flags.redis, where: describeTarget(redisTarget(flags.redis)) })
  const projectDir = projectDirectory()
  const embedded = await acquireEmbeddedRedis({ projectDir })
  try {
    return await use({ redis: embedded.socketPath, where: `the embedded Redis of ${projectDir}` })
  } finally {
    await embedded.release()
  }
}

/**
 * Calls `use` with a connection to that Redis, which is closed when `use` has ended.
 *
 * @throws {RedisUnreachableError} when Redis does not answer.
 */
export async function withClient<T>({ redis, where }: FoundRedis, use: (client: Client) => Promise<T>): Promise<T> {
  const client = openClient(redisTarget(redis), { name: 'millrace:cli', silenceMs: SILENCE_MS })
  let lastError: unknown
  client.on('error', error => {
    lastError = error
  })
  try {
    if (await whenReady(client, CONNECT_TIMEOUT_MS)) return await use(client)
    throw unreachable(where.replace(/^the/, 'The'), CONNECT_TIMEOUT_MS, lastError)
  } finally {
    client.disconnect()
  }
}

/** Calls `use` with the queue that the command line names, and the Redis it is in, in words. */
export async function withQueue<T>(
  flags: RedisFlags,
  use: (store: LaneStore, where: string) => Promise<T>,
): Promise<T> {
  const { namespace, queue } = flags
  return withRedisServer(flags, found =>
    withClient(found, client => use(new LaneStore(client, { namespace, queue, lane: 0 }), found.where)),
  )
}
