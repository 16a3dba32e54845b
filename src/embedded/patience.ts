import { EmbeddedRedisError } from '../errors.ts'
import { lastLines, quoteLines } from './log-file.ts'
import type { Place } from './place.ts'

/** However well a start gets on, nobody waits longer than this for it. */
const LIMIT_MS = 30 * 60_000
/** A longer gap between two looks at the clock was not spent waiting: this process, or the machine, slept. */
const LONGEST_GAP_MS = 500

/** How long a client waits for Redis: a deadline that moves on while the start makes progress, as when it loads much data. */
export class Patience {
  readonly #place: Place
  readonly #timeoutMs: number
  #lookedAt = performance.now()
  #totalMs = 0
  #waitedMs = 0

  constructor(place: Place, timeoutMs: number) {
    this.#place = place
    this.#timeoutMs = timeoutMs
  }

  /** The start got on. */
  renew(): void {
    this.#waitedMs = 0
  }

  /** Why to wait no longer; undefined while there is time. To be asked again and again. */
  overdue(): EmbeddedRedisError | undefined {
    const now = performance.now()
    const waitedMs = Math.min(now - this.#lookedAt, LONGEST_GAP_MS)
    this.#lookedAt = now
    this.#waitedMs += waitedMs
    this.#totalMs += waitedMs
    if (this.#waitedMs < this.#timeoutMs && this.#totalMs < LIMIT_MS) return undefined
    return new EmbeddedRedisError(
      `The embedded Redis of ${this.#place.dataDir} made no progress towards its start for ${this.#timeoutMs} ms: ` +
        `see its log ${this.#place.logFile}, or give more time.${quoteLines(lastLines(this.#place.logFile, 8))}`,
    )
  }
}
