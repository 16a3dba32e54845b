/** Wakes one waiting loop. A `fire` that comes before the `wait` is not lost; several are one. */
export class Signal {
  #fired = false
  #resolve: (() => void) | undefined

  fire(): void {
    this.#fired = true
    this.#resolve?.()
  }

  /** Resolves once it was fired since the last wait, or after `withinMs`. */
  async wait(withinMs?: number): Promise<void> {
    if (!this.#fired) {
      let timer: NodeJS.Timeout | undefined
      await new Promise<void>(resolve => {
        this.#resolve = resolve
        if (withinMs !== undefined) timer = setTimeout(resolve, withinMs)
      })
      clearTimeout(timer)
      this.#resolve = undefined
    }
    this.#fired = false
  }
}
