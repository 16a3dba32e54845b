import { Redis } from 'ioredis'
import { startRedis } from '../../test/support/redis.ts'
import type { RedisProcess } from '../../test/support/redis.ts'

/** A `redis-server` of one side's own: the same settings for all, with the append-only file that both sides are measured with. */
export async function startServer(): Promise<Server> {
  return new Server(await startRedis({ appendonly: 'everysec', port: true }))
}

/** What the benchmark asks of a server: where it is, and what it says about itself. */
export class Server {
  readonly #process: RedisProcess
  /** A connection for looking, none of the sides'. */
  readonly client: Redis

  constructor(process: RedisProcess) {
    this.#process = process
    this.client = this.connect()
  }

  get port(): number {
    return this.#process.port ?? 0
  }

  get url(): string {
    return this.#process.url
  }

  get pid(): number {
    return this.#process.pid
  }

  connect(): Redis {
    return new Redis({ host: '127.0.0.1', port: this.port, maxRetriesPerRequest: null, socketTimeout: 60_000 })
  }

  async flush(): Promise<void> {
    await this.client.flushall()
  }

  /** The bytes that Redis has allocated, once freed pages have been given back. */
  async usedMemory(): Promise<number> {
    await this.client.call('memory', 'purge')
    return numberIn(await this.client.info('memory'), 'used_memory')
  }

  /** How often each command was called, by scripts too. */
  async commandCalls(): Promise<ReadonlyMap<string, number>> {
    const calls = new Map<string, number>()
    for (const [, name = '', count] of (await this.client.info('commandstats')).matchAll(/cmdstat_(\S+):calls=(\d+)/g))
      calls.set(name, Number(count))
    return calls
  }

  async stop(): Promise<void> {
    this.client.disconnect()
    await this.#process.stop()
  }
}

/** A number of an INFO section. */
export function numberIn(info: string, field: string): number {
  const found = new RegExp(`^${field}:([0-9.]+)`, 'm').exec(info)
  if (found === null) throw new Error(`INFO has no ${field}.`)
  return Number(found[1])
}
