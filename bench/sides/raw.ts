import type { Redis } from 'ioredis'
import { decodeBatch, encodeBatch } from '../../dist/protocol/values.js'
import { startServer } from '../core/redis-server.ts'
import type { Server } from '../core/redis-server.ts'
import { startPeerWorkers } from './peer-workers.ts'

export const rawLatencyHow =
  'LPUSH; a worker process with BRPOP on one connection and HSET + PUBLISH (one pipeline) on another; the driver hears the message: no fence, no lease, a lost reply loses the task'

/** One task at a time by hand. */
export class RawLatency {
  readonly server: Server
  readonly #command: Redis
  readonly #subscriber: Redis
  readonly #closeWorker: () => Promise<void>
  #id = 0
  #heard: (message: string) => void = () => undefined

  constructor(server: Server, command: Redis, subscriber: Redis, closeWorker: () => Promise<void>) {
    this.server = server
    this.#command = command
    this.#subscriber = subscriber
    this.#closeWorker = closeWorker
    subscriber.on('message', (_channel: string, message: string) => {
      this.#heard(message)
    })
  }

  static async open(): Promise<RawLatency> {
    const server = await startServer()
    const subscriber = server.connect()
    await subscriber.subscribe('done')
    return new RawLatency(server, server.connect(), subscriber, await startPeerWorkers('raw', 1, server.port, 'noop'))
  }

  async run(input: number): Promise<number> {
    const id = ++this.#id
    const message = await new Promise<string>((resolve, reject) => {
      this.#heard = resolve
      this.#command.lpush('tasks', `${id} ${input}`).catch(reject)
    })
    return Number(message.split(' ')[1])
  }

  async close(): Promise<void> {
    await this.#closeWorker()
    this.#command.disconnect()
    this.#subscriber.disconnect()
    await this.server.stop()
  }
}

export const rawPackedHow =
  'packs of 4,096 numbers, all in one process: LPUSH, RPOP, decode, compute, encode, HSET, HMGET, decode in order; pipelined by hand with the same client and codec'

const packTasks = 4096

/** The ceiling of packed work with this client on one core: push, pop, store and gather by hand. */
export class RawPacked {
  readonly server: Server
  readonly #client: Redis

  constructor(server: Server) {
    this.server = server
    this.#client = server.connect()
  }

  static async open(): Promise<RawPacked> {
    return new RawPacked(await startServer())
  }

  async map(inputs: readonly number[]): Promise<unknown[]> {
    const client = this.#client
    await client.del('packs', 'results')
    const packs = Math.ceil(inputs.length / packTasks)
    const pushes: Promise<unknown>[] = []
    for (let pack = 0; pack < packs; pack++)
      pushes.push(client.lpush('packs', encodeBatch(inputs.slice(pack * packTasks, (pack + 1) * packTasks))))
    await Promise.all(pushes)
    const pops = Array.from({ length: packs }, () => client.rpopBuffer('packs'))
    const stores: Promise<unknown>[] = []
    for (let pack = 0; pack < packs; pack++) {
      const element = await pops[pack]!
      const results = element === null ? [] : decodeBatch(element).map(input => input)
      stores.push(client.hset('results', String(pack), encodeBatch(results)))
    }
    await Promise.all(stores)
    const results: unknown[] = []
    for (let from = 0; from < packs; from += 16) {
      const fields = Array.from({ length: Math.min(16, packs - from) }, (_, at) => String(from + at))
      for (const value of await client.hmgetBuffer('results', ...fields))
        if (value !== null) for (const result of decodeBatch(value)) results.push(result)
    }
    return results
  }

  async close(): Promise<void> {
    this.#client.disconnect()
    await this.server.stop()
  }
}
