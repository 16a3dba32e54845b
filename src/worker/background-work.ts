import type { Log } from '../runtime/log.ts'

/** What the main thread has under way that nobody waits for, until the worker ends. */
export class BackgroundWork {
  readonly #log: Log
  readonly #work = new Set<Promise<unknown>>()

  constructor(log: Log) {
    this.#log = log
  }

  track(work: Promise<unknown>): void {
    this.#work.add(work)
    void work.then(
      () => this.#work.delete(work),
      (error: unknown) => {
        this.#work.delete(work)
        this.#log.warn(`something failed in the main thread: ${(error as Error).message}`)
      },
    )
  }

  /** Resolves when nothing is under way, also of what was begun meanwhile. */
  async settle(): Promise<void> {
    while (this.#work.size > 0) await Promise.allSettled(this.#work)
  }
}
