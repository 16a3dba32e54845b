import { readPlainElement } from '../protocol/plain.ts'
import type { Log } from '../runtime/log.ts'
import { Loop } from '../runtime/loop.ts'
import type { Service } from '../runtime/service.ts'
import type { PlainStore } from '../store/plain-store.ts'

export interface PlainReaperOptions {
  readonly leaseMs: number
  /** Certain deaths after which an element gets an error instead of another attempt. */
  readonly maxDeaths: number
  readonly log: Log
}

/** How many claims that have ended one run looks into; what is beyond has its turn in a later run. */
const mostClaims = 64

/** Returns the elements of dead plain-Redis workers to their List. */
export class PlainReaper implements Service {
  readonly #store: PlainStore
  readonly #options: PlainReaperOptions
  readonly #loop: Loop
  #claimsFrom = 0

  constructor(store: PlainStore, options: PlainReaperOptions) {
    this.#store = store
    this.#options = options
    this.#loop = new Loop(
      async () => {
        await this.runOnce()
      },
      {
        intervalMs: options.leaseMs / 6,
        onError: error => {
          options.log.warn(`the reaper could not run: ${error instanceof Error ? error.message : String(error)}`)
        },
      },
    )
  }

  start(): void {
    this.#loop.start()
  }

  stop(): Promise<void> {
    return this.#loop.stop()
  }

  /** One round. Returns how many elements went back to the List. */
  async runOnce(): Promise<number> {
    const { leaseMs, maxDeaths, log } = this.#options
    let total = 0
    for (const worker of await this.#store.declareDead(leaseMs)) {
      const claims = await this.#store.claimsOf(worker)
      for (const claim of claims) {
        const elements = await this.#store.held(claim)
        if (elements.length === 0) continue
        const failure = JSON.stringify({
          name: 'TaskQuarantinedError',
          message: `The element took its process down ${maxDeaths} times and was set aside. Push it again once its task is mended.`,
        })
        const fields = elements.flatMap(element => [element, readPlainElement(element).field])
        const { returned, quarantined } = await this.#store.giveBackOfDead(
          claim,
          { worker, maxDeaths, failure },
          fields,
        )
        total += returned
        log.info(
          `worker ${worker} is dead: ${returned} elements back in the List${quarantined > 0 ? `, ${quarantined} set aside` : ''}`,
        )
      }
      await this.#store.bury(worker, claims)
    }
    // A BLMOVE that was held up on its way may put an element into a claim after its end.
    const retired = await this.#store.retiredClaims(this.#claimsFrom, mostClaims)
    this.#claimsFrom = retired.length < mostClaims ? 0 : this.#claimsFrom + mostClaims
    for (const claim of retired) total += (await this.#store.giveBack(claim, [])).returned
    return total
  }
}
