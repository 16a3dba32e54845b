import type { Log } from '../runtime/log.ts'
import { Loop } from '../runtime/loop.ts'
import type { Service } from '../runtime/service.ts'
import type { LaneStore } from '../store/lane-store.ts'

export interface LookoutOptions {
  readonly store: LaneStore
  readonly hash: string
  /** Whether there are threads that wait for work. */
  readonly hasIdle: () => boolean
  /** Work stands in line: whoever waits is to look for itself. */
  readonly onWork: () => void
  readonly log: Log
}

/** How long work may stand in line on a lane while threads wait and none of them was told of it. */
const lookEveryMs = 2000

/**
 * Sees work of a lane that threads which wait were not told of, because Redis lost who was waiting or the message was
 * missed. One question for all threads of the worker: that each of them asked would be most of what an idle fleet costs.
 */
export class Lookout implements Service {
  readonly #options: LookoutOptions
  readonly #loop: Loop

  constructor(options: LookoutOptions) {
    this.#options = options
    this.#loop = new Loop(() => this.#look(), {
      intervalMs: lookEveryMs,
      onError: error => {
        options.log.warn(`looking for work that stands in line failed and is tried again: ${(error as Error).message}`)
      },
    })
  }

  start(): void {
    this.#loop.start()
  }

  stop(): Promise<void> {
    return this.#loop.stop()
  }

  async #look(): Promise<void> {
    const { store, hash, hasIdle, onWork } = this.#options
    if (hasIdle() && (await store.claims.hasWork(hash))) onWork()
  }
}
