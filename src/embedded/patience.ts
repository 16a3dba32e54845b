import { EmbeddedRedisError } from '../errors.ts'
import { lastLines, quoteLines } from './log-file.ts'
import type { Place } from './place.ts'

/** However well a start gets on, nobody waits longer than this for it. */
const LIMIT_MS = 30 * 60_000

/** How long a client waits for Redis: a deadline that moves on while the start makes progress, as when it loads much data. */
export class Patience {
  readonly #place: Place
  readonly #timeoutMs: number
  readonly #limitAt = performance.now() + LIMIT_MS
  #deadlineAt: number

  constructor(place: Place, timeoutMs: number) {
    this.#place = place
    this.#timeoutMs = timeoutMs
    this.#deadlineAt = performance.now() + timeoutMs
  }

  /** The start got on. */
  renew(): void {
    this.#deadlineAt = Math.min(performance.now() + this.#timeoutMs, this.#limitAt)
  }

  /** Why to wait no longer; undefined while there is time. */
  overdue(): EmbeddedRedisError | undefined {
    if (performance.now() < this.#deadlineAt) return undefined
    return new EmbeddedRedisError(
      `The embedded Redis of ${this.#place.dataDir} made no progress towards its start for ${this.#timeoutMs} ms: ` +
        `see its log ${this.#place.logFile}, or give more time.${quoteLines(lastLines(this.#place.logFile, 8))}`,
    )
  }
}
