import { errorOf, refuseReduced, valuesOf } from './consume.ts'
import type { DrivenJob, ReadPiece } from './driven-job.ts'
import type { SubmittedAt } from './errors-from-wire.ts'

/**
 * Iteration over a job. Values of a piece are given from an array without waiting; the piece counts as used when the
 * value after its last is asked for. Leaving the loop cancels what is outstanding.
 */
abstract class Iteration<T> implements AsyncIterator<T> {
  readonly #opened: Promise<DrivenJob>
  readonly #ordered: boolean
  readonly #submittedAt: SubmittedAt
  #job: DrivenJob | undefined
  #values: unknown[] = []
  #first = 0
  #at = 0
  #piece: ReadPiece | undefined
  #done = false
  /** Calls of `next` that came before the one before them was answered: answered in order. */
  #advancing: Promise<unknown> | undefined

  constructor(opened: Promise<DrivenJob>, submittedAt: SubmittedAt, ordered: boolean) {
    this.#opened = opened
    this.#ordered = ordered
    this.#submittedAt = submittedAt
    opened.catch(() => undefined)
  }

  protected abstract make(index: number, value: unknown): T

  next(): Promise<IteratorResult<T>> {
    if (this.#at < this.#values.length && this.#advancing === undefined) return Promise.resolve(this.#give())
    const before = this.#advancing ?? Promise.resolve()
    const result = before.then(() => this.#next())
    const settled = result.catch(() => undefined).then(() => {
      if (this.#advancing === settled) this.#advancing = undefined
    })
    this.#advancing = settled
    return result
  }

  async return(): Promise<IteratorResult<T>> {
    if (!this.#done) {
      this.#done = true
      this.#values = []
      await (this.#job ?? (await this.#opened)).cancel()
    }
    return { done: true, value: undefined }
  }

  async #next(): Promise<IteratorResult<T>> {
    while (this.#at >= this.#values.length) {
      if (this.#done) return { done: true, value: undefined }
      try {
        const job = (this.#job ??= await this.#begin())
        if (this.#piece !== undefined) job.used(this.#piece, this.#ordered)
        this.#piece = await job.next()
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
        throw error
      }
    }
    return this.#give()
  }

  async #begin(): Promise<DrivenJob> {
    const job = await this.#opened
    refuseReduced(job)
    job.consume({ stream: true, ordered: this.#ordered })
    return job
  }

  #give(): IteratorResult<T> {
    const at = this.#at++
    return { done: false, value: this.make(this.#first + at, this.#values[at]) }
  }
}

/** Results in input order. */
export class InOrder<O> extends Iteration<O> {
  constructor(opened: Promise<DrivenJob>, submittedAt: SubmittedAt) {
    super(opened, submittedAt, true)
  }

  protected make(_index: number, value: unknown): O {
    return value as O
  }
}

/** `[index, result]` as tasks complete. */
export class AsTheyCome<O> extends Iteration<readonly [index: number, value: O]> {
  constructor(opened: Promise<DrivenJob>, submittedAt: SubmittedAt) {
    super(opened, submittedAt, false)
  }

  protected make(index: number, value: unknown): readonly [index: number, value: O] {
    return [index, value as O]
  }
}
