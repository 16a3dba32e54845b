import type { Service } from './service.ts'

export interface LoopOptions {
  /** Time between the end of one run and the start of the next. */
  readonly intervalMs: number
  /** Up to this share of the interval is added at random, so that a fleet does not run in step. @default 0.25 */
  readonly jitter?: number
  /** A run that rejected. The loop goes on: the next run finds the same state. */
  readonly onError: (error: unknown) => void
}

/** Calls a function again and again, one call at a time. `nudge` makes the next one start at once. */
export class Loop implements Service {
  readonly #run: () => Promise<void>
  readonly #options: LoopOptions
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #state: 'new' | 'started' | 'stopped' = 'new'
  #nudged = false

  constructor(run: () => Promise<void>, options: LoopOptions) {
    this.#run = run
    this.#options = options
  }

  start(): void {
    if (this.#state !== 'new') return
    this.#state = 'started'
    this.#schedule(0)
  }

  /** Runs now, or once more right after the run that is under way. */
  nudge(): void {
    if (this.#state !== 'started') return
    if (this.#running !== undefined) this.#nudged = true
    else this.#schedule(0)
  }

  async stop(): Promise<void> {
    this.#state = 'stopped'
    clearTimeout(this.#timer)
    await this.#running
  }

  #schedule(delayMs: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#running = this.#once()
    }, delayMs)
  }

  async #once(): Promise<void> {
    try {
      await this.#run()
    } catch (error) {
      this.#options.onError(error)
    }
    this.#running = undefined
    if (this.#state !== 'started') return
    const { intervalMs, jitter = 0.25 } = this.#options
    this.#schedule(this.#nudged ? 0 : intervalMs * (1 + Math.random() * jitter))
    this.#nudged = false
  }
}
