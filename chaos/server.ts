import { readdirSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { startRedis } from '../test/support/redis.ts'
import type { RedisProcess } from '../test/support/redis.ts'

export const persistences = ['always', 'everysec', 'rdb'] as const
/** The append-only file, synced with each command or every second, or snapshots alone. */
export type Persistence = (typeof persistences)[number]

/** The Redis of a run, as the faults see it. */
export interface Server {
  readonly persistence: Persistence
  /** What the proxy connects to. */
  readonly socketPath: string
  cli(...args: string[]): Promise<string>
  /** Ends it at once, without a chance to save. */
  kill(): Promise<void>
  /** Starts it on what it had, and resolves when it answers. `extraConfig` holds for this start alone. */
  start(extraConfig?: Readonly<Record<string, string>>): Promise<void>
  /** While it is down: takes away what it wrote in the last `ms`. Gives the bytes that are gone; undefined where there is no append-only file. */
  forgetLast(ms: number): number | undefined
  stop(): Promise<void>
}

export async function startServer(persistence: Persistence): Promise<Server> {
  const redis = await startRedis(
    persistence === 'rdb'
      ? { config: { save: '1 1' } }
      : // A rewrite would begin a new file in the middle of the record of its sizes.
        { appendonly: persistence, config: { 'auto-aof-rewrite-percentage': '0' } },
  )
  return new SingleServer(redis, persistence)
}

const sampleMs = 20
const keptSamples = 200

class SingleServer implements Server {
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

  cli(...args: string[]): Promise<string> {
    return this.#redis.cli(...args)
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
