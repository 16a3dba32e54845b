import { jitteredBackoffMs } from './backoff.ts'

/** Starts that may fail one after the other before the process is given up. */
const mostFailures = 4
/**
 * How often in a row it may end soon after it came up. A task that takes its process down is set aside after a few
 * deaths; so this is for a module that ends its process whatever it runs.
 */
const mostEarlyEnds = 24
/** A process that was up for so long was fine: what ends it then is counted anew. */
const soundMs = 30_000

/** Decides when a process that has ended is started again, and when it is given up. */
export class Restarts {
  #failures = 0

  /** In how many ms to start it again; undefined: no more. `upMs`: how long it ran since it was launched. */
  afterEnd({ cameUp, upMs }: { readonly cameUp: boolean; readonly upMs: number }): number | undefined {
    if (upMs > soundMs) this.#failures = 0
    this.#failures += cameUp ? mostFailures / mostEarlyEnds : 1
    if (this.#failures > mostFailures - 1e-9) return undefined
    return jitteredBackoffMs(Math.ceil(this.#failures), { firstMs: 200, mostMs: 5000 })
  }
}
