import type { SubmittedAt } from './errors-from-wire.ts'

/** One call of `run` or `submit`, until it has an outcome. */
export interface Call {
  readonly input: unknown
  readonly submittedAt: SubmittedAt
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

/** The calls of a job that have no outcome, by index. Not a Map, which would be a fifth of what a call in a burst takes. */
export class OpenCalls {
  readonly #calls: (Call | undefined)[] = []
  #size = 0

  get size(): number {
    return this.#size
  }

  /** How many there have been: the index of the next. */
  get added(): number {
    return this.#calls.length
  }

  add(call: Call): void {
    this.#calls.push(call)
    this.#size++
  }

  get(index: number): Call | undefined {
    return this.#calls[index]
  }

  take(index: number): Call | undefined {
    const call = this.#calls[index]
    if (call === undefined) return undefined
    this.#calls[index] = undefined
    this.#size--
    return call
  }

  takeAll(): readonly Call[] {
    return this.#calls.flatMap((_, index) => this.take(index) ?? [])
  }
}
