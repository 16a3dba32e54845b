import { EmbeddedRedisError, UsageError } from '../errors.ts'
import type { Appendfsync } from './control.ts'
import { openPlace, type Place } from './place.ts'
import { claimRedis, type ClaimOptions, type SupervisorLink } from './supervisor-link.ts'

export { projectDirectory } from './project-directory.ts'
export { findRedisServer, type RedisProgram } from './redis-program.ts'

/** What a timer of Node can wait. */
const LONGEST_MS = 2 ** 31 - 1
const RECLAIM_MS = 1_000

/** A private Redis of a project, kept running while any process holds it. */
export interface EmbeddedRedis {
  /** The unix socket of the server. It stays the same when the server is started again. */
  readonly socketPath: string
  /** Where the data are. */
  readonly dataDir: string
  /** Says that this process no longer needs it. Safe twice. A process that ends, or is killed, need not say so. */
  release(): Promise<void>
}

/** What {@link acquireEmbeddedRedis} needs to know. */
export interface EmbeddedRedisOptions {
  /** Directory of the project (data go to `<projectDir>/.millrace/redis`). */
  readonly projectDir: string
  /** How long Redis runs on after its last client has gone: longer saves starts, shorter saves memory. The last client's holds. `@default` 5000 */
  readonly lingerMs?: number
  /** How long a start may go without progress (loading data is progress). `@default` 20000 */
  readonly startTimeoutMs?: number
  /** How often Redis forces writes to the disk: `always` survives a power cut without loss, and is slow. One client's `always` holds for all. `@default` 'everysec' */
  readonly appendfsync?: Appendfsync
}

/**
 * Gives this process a share in the project's private Redis: a real `redis-server` (or `valkey-server`) behind a unix socket, started
 * if it does not run, started again if it dies, stopped some seconds after the last process that shares it has gone. The data stay
 * in the project.
 *
 * Throws `RedisServerMissingError` or `RedisVersionError` where no suitable server is installed, and `EmbeddedRedisError` where it cannot
 * start, with the last lines of its log.
 *
 * ```ts
 * const redis = await acquireEmbeddedRedis({ projectDir: projectDirectory() })
 * const client = new Redis(redis.socketPath)
 * // …
 * await redis.release()
 * ```
 */
export async function acquireEmbeddedRedis(options: EmbeddedRedisOptions): Promise<EmbeddedRedis> {
  const resolved = resolveOptions(options)
  const place = await openPlace(options.projectDir)
  return new SharedRedis(place, resolved, await claimRedis(place, resolved))
}

class SharedRedis implements EmbeddedRedis {
  readonly socketPath: string
  readonly dataDir: string
  readonly #place: Place
  readonly #options: ClaimOptions
  #link: SupervisorLink | undefined
  #released = false

  constructor(place: Place, options: ClaimOptions, link: SupervisorLink) {
    this.socketPath = link.socketPath
    this.dataDir = place.dataDir
    this.#place = place
    this.#options = options
    this.#hold(link)
  }

  async release(): Promise<void> {
    this.#released = true
    this.#link?.close()
    await this.#link?.closed
  }

  #hold(link: SupervisorLink): void {
    this.#link = link
    // Released while it was claiming again.
    if (this.#released) link.close()
    const onClosed = () => {
      this.#claimAgain()
    }
    link.closed.then(onClosed, onClosed)
  }

  /** When the supervisor was killed: otherwise Redis would end when the *other* clients of the next supervisor have gone. */
  #claimAgain(): void {
    if (this.#released) return
    claimRedis(this.#place, this.#options).then(
      link => {
        this.#hold(link)
      },
      () => {
        // Nobody is there to be told: whoever uses the socket sees that Redis is away. Try until it is back or not needed.
        setTimeout(() => {
          this.#claimAgain()
        }, RECLAIM_MS).unref()
      },
    )
  }
}

function resolveOptions(options: EmbeddedRedisOptions): ClaimOptions {
  if (process.platform === 'win32') {
    throw new EmbeddedRedisError(
      'The embedded Redis does not run on Windows, where Redis itself does not: use WSL, or give the URL of a Redis.',
    )
  }
  const { lingerMs = 5_000, startTimeoutMs = 20_000, appendfsync = 'everysec' } = options
  for (const [name, value] of Object.entries({ lingerMs, startTimeoutMs })) {
    if (!(value >= 0 && value <= LONGEST_MS)) {
      throw new UsageError(`${name} is ${value}, and must be a number of milliseconds from 0 to ${LONGEST_MS}.`)
    }
  }
  return { lingerMs, startTimeoutMs, appendfsync }
}
