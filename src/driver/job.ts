import { isReducer } from '../code/task.ts'
import type { Reducer } from '../code/task.ts'
import { JobAlreadyConsumedError } from '../errors.ts'
import { gatherResults, gatherSettled, reduceAll, refuseReduced } from './consume.ts'
import type { DrivenJob } from './driven-job.ts'
import type { SubmittedAt } from './errors-from-wire.ts'
import { InOrder, AsTheyCome } from './iterate.ts'
import type { ConsumedJob } from './iterate.ts'
import type { Opening } from './opening.ts'
import { readProgress } from './progress.ts'
import type { Job, Progress, Settled } from './types.ts'
import type { Link } from './link.ts'

/** What every public job is made of. */
export interface JobParts {
  readonly opening: Opening
  readonly submittedAt: SubmittedAt
  readonly link: Link
}

/** The workers' reducer of a job, as long as it can be chosen: until the end of the turn of `map`. */
export interface ReducerChoice {
  name: string
  open: boolean
}

abstract class BaseJob<O> {
  readonly id: string
  readonly #parts: JobParts
  readonly #choice: ReducerChoice
  #consumed = false

  constructor(parts: JobParts, choice: ReducerChoice) {
    this.id = parts.opening.id
    this.#parts = parts
    this.#choice = choice
  }

  results(): Promise<O[]> {
    return this.#use('results()', job => gatherResults(job, this.#parts.submittedAt) as Promise<O[]>)
  }

  settled(): Promise<Settled<O>[]> {
    return this.#use('settled()', job => gatherSettled(job, this.#parts.submittedAt) as Promise<Settled<O>[]>)
  }

  reduce<A = O>(reducer: Reducer<O> | ((accumulator: A, value: O) => A), initial: A): Promise<A> {
    const registered = isReducer(reducer)
    // Before anything is awaited: the choice ends with the turn.
    if (registered && this.#choice.open && !this.#consumed) this.#choice.name = reducer.name
    const fn = (registered ? reducer.fn : reducer) as (accumulator: unknown, value: unknown) => unknown
    const by = registered ? reducer.name : ''
    return this.#use('reduce()', job => reduceAll(job, { fn, initial }, this.#parts.submittedAt) as Promise<A>, by)
  }

  progress(): Promise<Progress> {
    return readProgress(this.#parts)
  }

  async submitted(): Promise<void> {
    await (await this.#parts.opening.opened).submitted()
  }

  cancel(): Promise<void> {
    return this.#parts.opening.cancel()
  }

  /** The job for its one consumer. One that can't have the results, as they exist only combined, leaves them to the next. */
  protected consume(how: string, by = ''): ConsumedJob {
    if (this.#consumed) {
      const message = `The results of the job ${this.id} are already being used, so that ${how} can't have them too: a job has one consumer. Keep what the first one gives, or map the inputs again.`
      const refused = Promise.reject(new JobAlreadyConsumedError(message))
      return { opened: refused, cancel: () => refused }
    }
    this.#consumed = true
    const { opening } = this.#parts
    const opened = opening.opened.then(job => {
      try {
        refuseReduced(job, by)
      } catch (error) {
        this.#consumed = false
        throw error
      }
      return job
    })
    return { opened, cancel: () => opening.cancel() }
  }

  #use<T>(how: string, use: (job: DrivenJob) => Promise<T>, by?: string): Promise<T> {
    const isFirst = !this.#consumed
    const used = this.consume(how, by)
      .opened.then(use)
      .catch((error: unknown) => {
        throw this.#parts.submittedAt.locate(error)
      })
    return isFirst ? this.#parts.opening.consumed(used) : used
  }

  protected get submittedAt(): SubmittedAt {
    return this.#parts.submittedAt
  }
}

/** A job whose iteration gives results in input order. */
export class OrderedJob<O> extends BaseJob<O> implements Job<O> {
  [Symbol.asyncIterator](): AsyncIterator<O> {
    return new InOrder<O>(this.consume('iteration'), this.submittedAt)
  }
}

/** A job whose iteration gives `[index, result]` as tasks complete. */
export class AsTheyComeJob<O> extends BaseJob<O> {
  [Symbol.asyncIterator](): AsyncIterator<readonly [index: number, value: O]> {
    return new AsTheyCome<O>(this.consume('iteration'), this.submittedAt)
  }
}
