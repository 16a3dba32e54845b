import { readdirSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { startRedis } from '../../test/support/redis.ts'
import type { RedisProcess } from '../../test/support/redis.ts'
import type { BehindProxy, Persistence } from '../server.ts'
import { persisting } from './persisting.ts'

export async function startSingle(persistence: Persistence): Promise<BehindProxy> {
  return new SingleServer(await startRedis(persisting(persistence)), persistence)
}

const sampleMs = 20
const keptSamples = 200

class SingleServer implements BehindProxy {
  readonly kind = 'single'
  readonly persistence: Persistence
  readonly socketPath: string
  readonly #redis: RedisProcess
  /** How long the append-only file was, and when. */
  readonly #sizes: { readonly at: number; readonly bytes: number }[] = []
  readonly #sampling: NodeJS.Timeout

  constructor(redis: RedisProcess, persistence: Persistence) {
    this.#redis = redis
    this.persistence = persistence
    this.socketPath = redis.socketPath
    this.#sampling = setInterval(() => {
      this.#sample()
    }, sampleMs)
  }

  ask(_key: string, ...command: string[]): Promise<string> {
    return this.#redis.cli(...command)
  }

  async askAll(...command: string[]): Promise<readonly string[]> {
    return [await this.#redis.cli(...command)]
  }

  kill(): Promise<void> {
    return this.#redis.kill()
  }

  start(extraConfig?: Readonly<Record<string, string>>): Promise<void> {
    return this.#redis.restart(extraConfig)
  }

  forgetLast(ms: number): number | undefined {
    const file = this.#appendOnlyFile()
    if (file === undefined) return undefined
    const bytes = statSync(file).size
    const before = this.#sizes.findLast(({ at }) => at <= Date.now() - ms)?.bytes ?? 0
    const kept = Math.min(before, bytes)
    // In the middle of a command or a script's transaction, as it may be: Redis goes back to the last whole one.
    truncateSync(file, kept)
    this.#sizes.length = 0
    return bytes - kept
  }

  async stop(): Promise<void> {
    clearInterval(this.#sampling)
    await this.#redis.stop()
  }

  #sample(): void {
    const file = this.#appendOnlyFile()
    if (file === undefined) return
    this.#sizes.push({ at: Date.now(), bytes: statSync(file).size })
    if (this.#sizes.length > keptSamples) this.#sizes.shift()
  }

  /** The last of its parts: the one that is appended to. */
  #appendOnlyFile(): string | undefined {
    if (this.persistence === 'rdb') return undefined
    const folder = join(this.#redis.dir, 'appendonlydir')
    const parts = readdirSync(folder).filter(name => name.endsWith('.incr.aof'))
    const last = parts.sort((a, b) => partNumber(a) - partNumber(b)).at(-1)
    return last === undefined ? undefined : join(folder, last)
  }
}

function partNumber(name: string): number {
  return Number(/\.(\d+)\.incr\.aof$/.exec(name)?.[1])
}
