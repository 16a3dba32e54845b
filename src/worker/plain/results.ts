import { jitteredBackoffMs } from '../../runtime/backoff.ts'
import type { Log } from '../../runtime/log.ts'
import { isDamage } from '../../store/mend.ts'
import type { PlainStore } from '../../store/plain-store.ts'

export interface ResultsOptions {
  readonly store: PlainStore
  /** So much may run, or wait to be written. */
  readonly most: number
  readonly log: Log
  readonly isDraining: () => boolean
}

/** What runs and is not written yet, and how it is written. */
export class Results {
  readonly #options: ResultsOptions
  readonly #work = new Set<Promise<void>>()

  constructor(options: ResultsOptions) {
    this.#options = options
  }

  /** Never rejects: what goes wrong is said. */
  track(work: Promise<void>): Promise<void> {
    const tracked = work
      .catch((error: unknown) => {
        this.#options.log.warn(messageOf(error))
      })
      .finally(() => this.#work.delete(tracked))
    this.#work.add(tracked)
    return tracked
  }

  /** Results that can't be written keep their elements: no more are taken than can be held. */
  async whenRoom(): Promise<void> {
    const { most, isDraining } = this.#options
    while (this.#work.size >= most && !isDraining()) await Promise.race(this.#work)
  }

  /** Resolves when everything that runs now is written, or has been given up. */
  async whenWritten(): Promise<void> {
    await Promise.all(this.#work)
  }

  /** Writes until Redis has answered: a commit whose reply was lost is 'fenced' the second time, which is as good. */
  async write(write: () => Promise<unknown>): Promise<void> {
    const { log, isDraining } = this.#options
    for (let failures = 1; ; failures++) {
      try {
        await write()
        return
      } catch (error) {
        if (failures >= 5) log.warn(await this.explain('cannot write a result', error))
        if (isDraining() && failures > 20) return
        await new Promise(resolve => setTimeout(resolve, jitteredBackoffMs(failures, { firstMs: 50, mostMs: 1000 })))
      }
    }
  }

  /** Says which key of the user's is not what it must be, if that is the reason. */
  async explain(what: string, error: unknown): Promise<string> {
    const complaint = isDamage(error) ? await this.#options.store.complaint().catch(() => undefined) : undefined
    return `${what}: ${complaint ?? messageOf(error)}`
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
