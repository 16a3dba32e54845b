import type { Service } from '../runtime/service.ts'

/** What happens when the process has too much memory. */
export interface MemoryEvents {
  /** It is over its limit: from now on it should end. Told once. */
  onOver(megabytes: number): void
  /** It grows too fast for its tasks to be waited for. Told for as long as that is so. */
  onFarOver(megabytes: number): void
}

const everyMs = 100
/** A process that is over its limit by this factor is growing too fast for its tasks to be waited for. */
const farOver = 1.1

/** Watches the resident memory of the process, which the heap caps of its threads do not cover. */
export class MemoryGuard implements Service {
  readonly #limitMb: number
  readonly #events: MemoryEvents
  #timer: NodeJS.Timeout | undefined
  #isOver = false

  constructor(limitMb: number, events: MemoryEvents) {
    this.#limitMb = limitMb
    this.#events = events
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#look()
    }, everyMs)
    this.#timer.unref()
  }

  stop(): Promise<void> {
    clearInterval(this.#timer)
    return Promise.resolve()
  }

  #look(): void {
    const megabytes = Math.round(process.memoryUsage.rss() / 1024 / 1024)
    if (megabytes <= this.#limitMb) return
    if (megabytes > this.#limitMb * farOver) this.#events.onFarOver(megabytes)
    if (this.#isOver) return
    this.#isOver = true
    this.#events.onOver(megabytes)
  }
}
