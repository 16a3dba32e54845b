import { dropPart } from './drop-part.ts'
import type { Ended } from './drop-part.ts'

const delayMs = 5
/** When a drop failed: Redis may be away, or refuse. */
const againMs = 500
/** More that can't be dropped are left to expire. */
const mostDue = 10_000
/** So many are remembered in case Redis comes back with them. */
const mostDropped = 1000

/** What the dropper asks the connection. */
export interface DropperHost {
  /** Whether the driver has a job of that id, begun since: it sees to that itself. */
  drives(job: string): boolean
  readonly onError: (error: unknown) => void
}

/**
 * Takes ended jobs out of Redis, many at a time: again when that failed, and again when Redis may have gone back to before
 * it was done. What it can't take out expires.
 */
export class Dropper {
  readonly #host: DropperHost
  readonly #due: Ended[] = []
  readonly #dropped: Ended[] = []
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(host: DropperHost) {
    this.#host = host
  }

  dropSoon(ended: Ended): void {
    this.#due.push(ended)
    this.#dropIn(delayMs)
  }

  /** At once, and again soon should that fail: then what became of it is not known. */
  async drop(ended: Ended): Promise<'dropped' | 'gone' | 'replaced' | 'unknown'> {
    try {
      const word = await dropPart(ended)
      // Should Redis go back to when a part was this driver's that another has since, it is the other's still.
      if (word !== 'replaced') this.#dropped.push(ended)
      if (this.#dropped.length > mostDropped) this.#dropped.shift()
      return word
    } catch (error) {
      this.#host.onError(error)
      if (this.#due.length < mostDue) this.#due.push(ended)
      this.#dropIn(againMs)
      return 'unknown'
    }
  }

  /** Redis is back after a while: whatever was dropped last may be there again. */
  dropAgain(): void {
    this.#due.push(...this.#dropped.splice(0))
    if (this.#due.length > 0) this.#dropIn(delayMs)
  }

  /** Nothing more is dropped, but by `flush`. */
  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  /** Drops what is due now, if that can be done. */
  async flush(): Promise<void> {
    const due = this.#due.splice(0).filter(({ part }) => !this.#host.drives(part.job))
    await Promise.all(due.map(ended => this.drop(ended)))
  }

  #dropIn(ms: number): void {
    if (this.#stopped) return
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.flush().catch(this.#host.onError)
    }, ms)
  }
}
