/** The rate is that of the last seconds, so that a bar tells of now and not of the average since the start. */
const WINDOW_MS = 5_000
/** Less than this, and the quotient is noise. */
const SHORTEST_MS = 400

/** Tasks done per second over the last few seconds, and what that says of the end. */
export class RateMeter {
  readonly #samples: { readonly atMs: number; readonly done: number }[] = []

  /** Notes how many tasks are done at a time. */
  note(atMs: number, done: number): void {
    this.#samples.push({ atMs, done })
    // One sample older than the window stays, so that the window is covered.
    while ((this.#samples[1]?.atMs ?? Infinity) <= atMs - WINDOW_MS) this.#samples.shift()
  }

  /** Tasks per second; undefined while it is too early to say. */
  perSecond(): number | undefined {
    const first = this.#samples[0]
    const last = this.#samples.at(-1)
    if (first === undefined || last === undefined || last.atMs - first.atMs < SHORTEST_MS) return undefined
    return ((last.done - first.done) * 1000) / (last.atMs - first.atMs)
  }

  /** Time until `left` more tasks are done at this rate; undefined when nobody can say. */
  remainingMs(left: number): number | undefined {
    const rate = this.perSecond()
    return rate === undefined || rate <= 0 ? undefined : (left * 1000) / rate
  }
}
