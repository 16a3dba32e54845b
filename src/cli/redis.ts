import { acquireEmbeddedRedis, projectDirectory } from '../embedded/embedded-redis.ts'
import { RedisUnreachableError } from '../errors.ts'
import { Lanes } from '../store/lanes.ts'
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
 * Calls `use` with the lanes of a queue of that Redis, which are disconnected from when `use` has ended.
 *
 * @throws {RedisUnreachableError} when Redis does not answer.
 */
export async function withLanes<T>(
  { redis, where }: FoundRedis,
  { namespace, queue }: RedisFlags,
  use: (lanes: Lanes) => Promise<T>,
): Promise<T> {
  let lastError: unknown
  const lanes = new Lanes({
    target: redisTarget(redis),
    namespace,
    queue,
    role: { name: 'millrace:cli', silenceMs: SILENCE_MS },
    onOpen: client => {
      client.on('error', error => {
        lastError = error
      })
    },
  })
  try {
    await lanes.learn(CONNECT_TIMEOUT_MS).catch((error: unknown) => {
      if (!(error instanceof RedisUnreachableError)) throw error
      throw unreachable(where.replace(/^the/, 'The'), CONNECT_TIMEOUT_MS, lastError)
    })
    return await use(lanes)
  } finally {
    lanes.disconnect()
  }
}

/** Calls `use` with the lanes of the queue that the command line names, and the Redis it is in, in words. */
export async function withQueue<T>(flags: RedisFlags, use: (lanes: Lanes, where: string) => Promise<T>): Promise<T> {
  return withRedisServer(flags, found => withLanes(found, flags, lanes => use(lanes, found.where)))
}
