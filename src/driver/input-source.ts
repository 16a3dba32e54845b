import type { Pack } from './packing.ts'
import type { Inputs } from './types.ts'

/** Where a job's inputs are pulled from, lazily. */
export interface InputSource {
  /** Whether every input has been pulled. */
  readonly ended: boolean
  /**
   * Pulls into the pack until it is full or the inputs end. Inputs that take their time end a pack early: what is
   * there is not kept waiting for what may never come. Rejects (or throws) what the user's iterator throws.
   */
  fill(pack: Pack): Promise<void> | void
  /** Pulls and discards inputs that were submitted before. */
  discard(count: number): Promise<void> | void
  /** Tells the user's iterator that no more will be pulled. */
  close(): void
}

/** The source of what a user gave to `map`. */
export function inputSource(inputs: Inputs<unknown>): InputSource {
  return Symbol.iterator in inputs
    ? new SyncSource(inputs[Symbol.iterator]())
    : new AsyncSource(inputs[Symbol.asyncIterator]())
}

/** Nothing held over: an input may be undefined itself. */
const none = Symbol('none')

class SyncSource implements InputSource {
  readonly #iterator: Iterator<unknown>
  #heldOver: unknown = none
  #ended = false

  constructor(iterator: Iterator<unknown>) {
    this.#iterator = iterator
  }

  get ended(): boolean {
    return this.#ended
  }

  fill(pack: Pack): void {
    if (this.#heldOver !== none) {
      pack.add(this.#heldOver)
      this.#heldOver = none
    }
    while (!pack.full && !this.#ended) {
      const step = this.#next()
      if (step.done === true) this.#ended = true
      else if (!pack.add(step.value)) {
        this.#heldOver = step.value
        return
      }
    }
  }

  discard(count: number): void {
    for (let i = 0; i < count && !this.#ended; i++) if (this.#next().done === true) this.#ended = true
  }

  close(): void {
    if (this.#ended) return
    this.#ended = true
    this.#return()
  }

  #next(): IteratorResult<unknown> {
    const step = this.#iterator.next()
    // What it ran has closed it: a generator can't be told while it runs.
    if (this.#ended && step.done !== true) this.#return()
    return step
  }

  #return(): void {
    try {
      this.#iterator.return?.()
    } catch {
      // The job is over, and its consumer has been told why.
    }
  }
}

class AsyncSource implements InputSource {
  readonly #iterator: AsyncIterator<unknown>
  #heldOver: unknown = none
  #pending: Promise<IteratorResult<unknown>> | undefined
  #ended = false

  constructor(iterator: AsyncIterator<unknown>) {
    this.#iterator = iterator
  }

  get ended(): boolean {
    return this.#ended
  }

  async fill(pack: Pack): Promise<void> {
    if (this.#heldOver !== none) {
      pack.add(this.#heldOver)
      this.#heldOver = none
    }
    const late = new Promise<typeof none>(resolve => {
      setImmediate(resolve, none)
    })
    while (!pack.full && !this.#ended) {
      this.#pending ??= this.#iterator.next()
      const step = pack.inputs.length === 0 ? await this.#pending : await Promise.race([this.#pending, late])
      if (step === none) return
      this.#pending = undefined
      if (step.done === true) this.#ended = true
      else if (!pack.add(step.value)) {
        this.#heldOver = step.value
        return
      }
    }
  }

  async discard(count: number): Promise<void> {
    for (let i = 0; i < count && !this.#ended; i++) if ((await this.#iterator.next()).done === true) this.#ended = true
  }

  close(): void {
    if (this.#ended) return
    this.#ended = true
    // Not awaited: a generator that waits for something answers only when that comes.
    this.#pending?.catch(() => undefined)
    void (async () => this.#iterator.return?.())().catch(() => undefined)
  }
}
