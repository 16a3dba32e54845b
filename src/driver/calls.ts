import { CallJob } from './call-job.ts'
import type { CallKind, Entry, Until } from './call-job.ts'
import type { Opening, OpeningContext } from './opening.ts'
import type { Handle } from './types.ts'

/**
 * Gathers single calls of the same task and priority. Those of `submit` that one turn makes are a job, whose id and index
 * a handle shows. Those of `run`, which show none, go into one job for as long as they come: making a job for each would
 * take longer than a short task.
 */
export class Calls {
  readonly #context: OpeningContext
  readonly #onJob: (id: string, task: string, named: boolean, opening: Opening) => void
  readonly #taking = { turn: new Map<string, CallJob>(), idle: new Map<string, CallJob>() }

  constructor(context: OpeningContext, onJob: (id: string, task: string, named: boolean, opening: Opening) => void) {
    this.#context = context
    this.#onJob = onJob
  }

  /** Resolves with the result. `entry`: the public method, where the user's trace begins. */
  run(kind: CallKind, input: unknown, entry: Entry, signal: AbortSignal | undefined): Promise<unknown> {
    return this.#jobFor(kind, 'idle').call(input, entry, signal)
  }

  /** The same, with a handle on the call. */
  submit(kind: CallKind, input: unknown, entry: Entry, signal: AbortSignal | undefined): CallHandle {
    const job = this.#jobFor(kind, 'turn')
    const index = job.taken
    const result = job.call(input, entry, signal)
    // A handle whose result nobody asks for must not end the process when its task fails.
    result.catch(() => undefined)
    return new CallHandle(`${job.id}/${index}`, result, () => job.cancel(index))
  }

  #jobFor(kind: CallKind, until: Until): CallJob {
    if (kind.id !== undefined) return this.#start(kind, 'turn', () => undefined)
    const key = `${kind.priority} ${kind.task}`
    const taking = this.#taking[until]
    const former = taking.get(key)
    if (former !== undefined && (until === 'turn' || former.takesMore)) return former
    former?.close()
    const job = this.#start(kind, until, () => taking.delete(key))
    taking.set(key, job)
    return job
  }

  #start(kind: CallKind, until: Until, onClose: () => void): CallJob {
    const job = new CallJob(this.#context, kind, until, onClose)
    this.#onJob(job.id, kind.task, kind.id !== undefined, job.opening)
    return job
  }
}

/** One task. Not a thenable: ask for `result()`. */
export class CallHandle implements Handle<unknown> {
  readonly id: string
  readonly #result: Promise<unknown>
  readonly #cancel: () => Promise<void>

  constructor(id: string, result: Promise<unknown>, cancel: () => Promise<void>) {
    this.id = id
    this.#result = result
    this.#cancel = cancel
  }

  result(): Promise<unknown> {
    return this.#result
  }

  cancel(): Promise<void> {
    return this.#cancel()
  }
}
