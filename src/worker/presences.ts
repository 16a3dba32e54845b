import type { Log } from '../runtime/log.ts'
import { Loop } from '../runtime/loop.ts'
import type { Service } from '../runtime/service.ts'
import type { Lanes } from '../store/lanes.ts'
import type { Presence } from './presence.ts'

/** How often the lanes' lists are compared, where they may differ. */
const agreeEveryMs = 5000

export interface PresencesOptions {
  readonly lanes: Lanes
  readonly open: (lane: number) => Presence
  /** The worker takes part on more lanes from now on. */
  readonly onGrown: (lanes: readonly number[]) => void
  readonly log: Log
}

/** Where a worker takes part: on every lane of its queue, also on those that it learns of later. */
export class Presences implements Service {
  readonly #options: PresencesOptions
  readonly #byLane = new Map<number, Presence>()
  /** The lanes on which it takes part, or is about to. */
  readonly #joined = new Set<number>()
  readonly #agreement: Loop

  constructor(options: PresencesOptions) {
    this.#options = options
    this.#agreement = new Loop(() => this.#agree(), {
      intervalMs: agreeEveryMs,
      onError: error => {
        options.log.warn(`the lists of lanes could not be compared, which is tried again: ${(error as Error).message}`)
      },
    })
  }

  /** What is done on one lane. */
  on(lane: number): Presence {
    let presence = this.#byLane.get(lane)
    if (presence === undefined) {
      presence = this.#options.open(lane)
      this.#byLane.set(lane, presence)
    }
    return presence
  }

  [Symbol.iterator](): IterableIterator<[number, Presence]> {
    return this.#byLane.entries()
  }

  async start(): Promise<void> {
    const { lanes } = this.#options
    await Promise.all(lanes.numbers.map(lane => this.#join(lane)))
    if (lanes.mayGrow) this.#agreement.start()
  }

  async stop(): Promise<void> {
    await Promise.all([this.#agreement, ...this.#byLane.values()].map(service => service.stop()))
  }

  async leave(): Promise<void> {
    await Promise.all([...this.#byLane.values()].map(presence => presence.leave()))
  }

  /** Learns of lanes that others know of, and takes part there; where that failed it is tried again. */
  async #agree(): Promise<void> {
    const { lanes, log, onGrown } = this.#options
    const hasGrown = await lanes.agree()
    for (const lane of lanes.numbers.filter(number => !this.#joined.has(number))) {
      this.#join(lane).catch((error: unknown) => {
        this.#joined.delete(lane)
        log.warn(`the worker could not take part on lane ${lane}, which is tried again: ${(error as Error).message}`)
      })
    }
    if (hasGrown) onGrown(lanes.numbers)
  }

  #join(lane: number): Promise<void> {
    this.#joined.add(lane)
    return this.on(lane).start()
  }
}
