import { errorOf, valuesOf } from './consume.ts'
import type { ReadPiece } from './delivery.ts'
import type { DrivenJob } from './driven-job.ts'
import type { SubmittedAt } from './errors-from-wire.ts'

/** A job as its consumer has it, who may come before it is open. */
export interface ConsumedJob {
  readonly opened: Promise<DrivenJob>
  /** Opened or not. */
  cancel(): Promise<void>
}

/**
 * Iteration over a job. Values of a piece are given from an array without waiting; the piece counts as used when the
 * value after its last is asked for. Leaving the loop cancels what is outstanding.
 */
abstract class Iteration<T> implements AsyncIterator<T> {
  readonly #consumed: ConsumedJob
  readonly #ordered: boolean
  readonly #submittedAt: SubmittedAt
  #job: DrivenJob | undefined
  #values: unknown[] = []
  #first = 0
  #at = 0
  #piece: ReadPiece | undefined
  #done = false
  /** The last of the calls of `next` that wait; they are answered one after the other. */
  #advancing: Promise<unknown> | undefined
  #asked = 0

  constructor(consumed: ConsumedJob, submittedAt: SubmittedAt, ordered: boolean) {
    this.#consumed = consumed
    this.#ordered = ordered
    this.#submittedAt = submittedAt
    consumed.opened.catch(() => undefined)
  }

  protected abstract make(index: number, value: unknown): T

  next(): Promise<IteratorResult<T>> {
    if (this.#at < this.#values.length && this.#advancing === undefined) return Promise.resolve(this.#give())
    this.#asked++
    const advance = () => this.#advance()
    const result = this.#advancing === undefined ? advance() : this.#advancing.then(advance, advance)
    this.#advancing = result
    return result
  }

  async return(): Promise<IteratorResult<T>> {
    if (!this.#done) {
      this.#done = true
      this.#values = []
      await this.#consumed.cancel()
    }
    return { done: true, value: undefined }
  }

  async #advance(): Promise<IteratorResult<T>> {
    try {
      return await this.#next()
    } finally {
      // Before the answer is out, so that the next call finds the short way.
      if (--this.#asked === 0) this.#advancing = undefined
    }
  }

  async #next(): Promise<IteratorResult<T>> {
    while (this.#at >= this.#values.length) {
      if (this.#done) return { done: true, value: undefined }
      try {
        const job = (this.#job ??= await this.#begin())
        if (this.#piece !== undefined) job.delivery.used(this.#piece, this.#ordered)
        this.#piece = await job.delivery.next()
        if (this.#piece === undefined) {
          this.#done = true
          await job.finish()
          return { done: true, value: undefined }
        }
        if (this.#piece.run.kind === 'failure') throw errorOf(job, this.#piece, this.#submittedAt)
        this.#values = valuesOf(this.#piece)
        this.#first = this.#piece.first
        this.#at = 0
      } catch (error) {
        this.#done = true
        await this.#job?.endWith(error)
        throw this.#submittedAt.locate(error)
      }
    }
    return this.#give()
  }

  async #begin(): Promise<DrivenJob> {
    const job = await this.#consumed.opened
    job.delivery.begin({ stream: true, ordered: this.#ordered })
    return job
  }

  #give(): IteratorResult<T> {
    const at = this.#at++
    return { done: false, value: this.make(this.#first + at, this.#values[at]) }
  }
}

/** Results in input order. */
export class InOrder<O> extends Iteration<O> {
  constructor(consumed: ConsumedJob, submittedAt: SubmittedAt) {
    super(consumed, submittedAt, true)
  }

  protected make(_index: number, value: unknown): O {
    return value as O
  }
}

/** `[index, result]` as tasks complete. */
export class AsTheyCome<O> extends Iteration<readonly [index: number, value: O]> {
  constructor(consumed: ConsumedJob, submittedAt: SubmittedAt) {
    super(consumed, submittedAt, false)
  }

  protected make(index: number, value: unknown): readonly [index: number, value: O] {
    return [index, value as O]
  }
}
