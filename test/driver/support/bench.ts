import { fileURLToPath } from 'node:url'
import { connect } from '../../../src/index.ts'
import type { ConnectOptions, Mill } from '../../../src/index.ts'
import { startRedis } from '../../support/redis.ts'
import type { RedisOptions, RedisProcess } from '../../support/redis.ts'

/** The file of the tasks that these tests run. */
export const tasksFile = fileURLToPath(new URL('./tasks.ts', import.meta.url))

/** A Redis, and a connection to it with a local worker. */
export interface Bench extends AsyncDisposable {
  readonly redis: RedisProcess
  readonly mill: Mill
  /** Another connection to the same Redis, without a worker of its own. */
  connect(options?: ConnectOptions): Promise<Mill>
  /** The keys of the jobs that Redis has. */
  records(): Promise<string[]>
}

export async function startBench({
  threads = 2,
  redis: redisOptions,
}: { threads?: number; redis?: RedisOptions } = {}): Promise<Bench> {
  const redis = await startRedis(redisOptions)
  const mills: Mill[] = []
  const open = async (options: ConnectOptions = {}) => {
    const mill = await connect({ redis: redis.url, tasks: tasksFile, threads: 0, ...options })
    mills.unshift(mill)
    return mill
  }
  const mill = await open({ threads })
  return {
    redis,
    mill,
    connect: open,
    records: async () =>
      (await redis.cli('--raw', 'KEYS', '*:part:*')).split('\n').filter(key => /:part:\w+$/.test(key)),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(mills.map(one => one.close()))
      await redis.stop()
    },
  }
}
