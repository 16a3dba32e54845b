import { RedisUnreachableError } from '../errors.ts'
import { acquireEmbeddedRedis, projectDirectory } from '../embedded/embedded-redis.ts'
import { openClient, whenReady } from '../store/client.ts'
import { LaneStore } from '../store/lane-store.ts'
import { describeTarget, redisTarget, type RedisTarget } from '../store/target.ts'
import type { RedisFlags } from './options.ts'

/** Somebody waits for these commands, and a Redis that is there answers in milliseconds. */
const CONNECT_TIMEOUT_MS = 3_000
const SILENCE_MS = 10_000

/** A queue that a command reads, and the Redis it is in. */
export interface OpenQueue {
  readonly store: LaneStore
  /** The Redis in words: `Redis at 127.0.0.1:6379`, `the embedded Redis of /home/me/project`. */
  readonly where: string
}

/**
 * Opens the queue for as long as `use` takes.
 *
 * @throws {RedisUnreachableError} when Redis does not answer.
 */
export async function withQueue<T>(flags: RedisFlags, use: (queue: OpenQueue) => Promise<T>): Promise<T> {
  if (flags.redis !== undefined) {
    const target = redisTarget(flags.redis)
    return withTarget(target, flags, describeTarget(target), use)
  }
  const projectDir = projectDirectory()
  const embedded = await acquireEmbeddedRedis({ projectDir })
  try {
    return await withTarget(redisTarget(embedded.socketPath), flags, `the embedded Redis of ${projectDir}`, use)
  } finally {
    await embedded.release()
  }
}

async function withTarget<T>(target: RedisTarget, flags: RedisFlags, where: string, use: (queue: OpenQueue) => Promise<T>): Promise<T> {
  const client = openClient(target, { name: 'millrace:cli', silenceMs: SILENCE_MS })
  let lastError: unknown
  client.on('error', error => {
    lastError = error
  })
  try {
    if (!(await whenReady(client, CONNECT_TIMEOUT_MS))) {
      throw new RedisUnreachableError(
        `${where.replace(/^the/, 'The')} could not be reached within ${CONNECT_TIMEOUT_MS / 1000} s. ` +
          'Check that it runs and that the URL is right, or leave out --redis and REDIS_URL to use an embedded Redis.',
        { cause: lastError },
      )
    }
    const { namespace, queue } = flags
    return await use({ store: new LaneStore(client, { namespace, queue, lane: 0 }), where })
  } finally {
    client.disconnect()
  }
}
