import { TaskCancelledError } from '../errors.ts'
import { describeFailure } from '../protocol/failure.ts'
import { randomName } from '../protocol/names.ts'
import { encodeOutcome } from '../protocol/outcome.ts'
import { cancelOn, CallStream } from './call-stream.ts'
import type { Entry } from './call-stream.ts'
import { errorOf, valuesOf } from './consume.ts'
import type { ReadPiece } from './delivery.ts'
import type { DrivenJob } from './driven-job.ts'
import { SubmittedAt } from './errors-from-wire.ts'
import { inputSource } from './input-source.ts'
import { openJob } from './opening.ts'
import type { Opening, OpeningContext } from './opening.ts'
import type { Handle } from './types.ts'

/** One call of `submit`. */
interface BatchedCall {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
}

/** What calls have in common that become one job. */
export interface CallKind {
  readonly task: string
  readonly priority: number
  /** With an id of its own a call is a job of its own. */
  readonly id: string | undefined
}

const keepMs = 24 * 60 * 60 * 1000

const keyOf = ({ priority, task }: CallKind) => `${priority} ${task}`

/**
 * Gathers single calls of the same task and priority. Those of `submit` that one turn makes are a job, whose id and index
 * a handle shows; those of `run`, which show none, go into one job for as long as they come.
 */
export class Calls {
  readonly #context: OpeningContext
  readonly #onJob: (id: string, task: string, named: boolean, opening: Opening) => void
  readonly #batches = new Map<string, CallBatch>()
  readonly #streams = new Map<string, CallStream>()

  constructor(context: OpeningContext, onJob: (id: string, task: string, named: boolean, opening: Opening) => void) {
    this.#context = context
    this.#onJob = onJob
  }

  /** Resolves with the result. `entry`: the public method, where the user's trace begins. */
  run(kind: CallKind, input: unknown, entry: Entry, signal: AbortSignal | undefined): Promise<unknown> {
    if (kind.id !== undefined) return this.#start(kind, entry).add(input, signal).result()
    const key = keyOf(kind)
    let stream = this.#streams.get(key)
    if (stream?.takesCalls !== true) {
      stream?.retire()
      stream = this.#stream(kind, key)
    }
    return stream.run(input, entry, signal)
  }

  /** The same, with a handle on the call. */
  submit(kind: CallKind, input: unknown, entry: Entry, signal: AbortSignal | undefined): CallHandle {
    if (kind.id !== undefined) return this.#start(kind, entry).add(input, signal)
    const key = keyOf(kind)
    let batch = this.#batches.get(key)
    if (batch === undefined) {
      batch = this.#start(kind, entry)
      this.#batches.set(key, batch)
      setImmediate(() => this.#batches.delete(key))
    }
    return batch.add(input, signal)
  }

  #stream(kind: CallKind, key: string): CallStream {
    const stream = new CallStream(this.#context, kind.task, kind.priority, () => {
      if (this.#streams.get(key) === stream) this.#streams.delete(key)
    })
    this.#streams.set(key, stream)
    this.#onJob(stream.id, kind.task, false, stream.opening)
    return stream
  }

  #start(kind: CallKind, entry: Entry): CallBatch {
    const batch = new CallBatch(this.#context, kind, new SubmittedAt(entry))
    this.#onJob(batch.id, kind.task, kind.id !== undefined, batch.opening)
    return batch
  }
}

/** The calls of one turn that are one job. Their inputs are pulled when the turn is over. */
class CallBatch {
  readonly id: string
  readonly opening: Opening
  readonly #kind: CallKind
  readonly #submittedAt: SubmittedAt
  readonly #inputs: unknown[] = []
  readonly #calls: (BatchedCall | undefined)[] = []
  #open = 0

  constructor(context: OpeningContext, kind: CallKind, submittedAt: SubmittedAt) {
    this.#kind = kind
    this.#submittedAt = submittedAt
    this.id = kind.id ?? randomName(10)
    this.opening = openJob(context, {
      id: this.id,
      named: kind.id !== undefined,
      task: kind.task,
      priority: kind.priority,
      detached: false,
      keepMs,
      shared: undefined,
      inputs: inputSource(this.#inputs),
      reducer: () => '',
    })
    this.#collect().catch((error: unknown) => {
      for (const call of this.#calls) call?.reject(submittedAt.locate(error) as Error)
    })
  }

  add(input: unknown, signal: AbortSignal | undefined): CallHandle {
    const index = this.#inputs.push(input) - 1
    this.#open++
    const result = new Promise((resolve, reject) => {
      this.#calls[index] = { resolve, reject }
    })
    // A handle whose result nobody asks for must not end the process when its task fails.
    result.catch(() => undefined)
    const cancel = () => this.#cancel(index)
    if (signal !== undefined) cancelOn(signal, result, cancel)
    return new CallHandle(`${this.id}/${index}`, result, cancel)
  }

  /** @throws what the calls that have no outcome yet are to be rejected with. */
  async #collect(): Promise<void> {
    const job = await this.opening.opened
    try {
      job.delivery.begin({ stream: false, ordered: false })
      for (let piece = await job.delivery.next(); piece !== undefined; piece = await job.delivery.next()) {
        // The id of a named call is free again before its result shows.
        if (job.named) await job.finish()
        this.#settle(job, piece)
        job.delivery.used(piece, false)
      }
      await job.finish()
    } catch (error) {
      await job.endWith(error)
      throw error
    }
  }

  #settle(job: DrivenJob, piece: ReadPiece): void {
    if (piece.run.kind === 'failure') {
      this.#take(piece.first)?.reject(errorOf(job, piece, this.#submittedAt))
      return
    }
    for (const [i, value] of valuesOf(piece).entries()) this.#take(piece.first + i)?.resolve(value)
  }

  #take(index: number): BatchedCall | undefined {
    const call = this.#calls[index]
    this.#calls[index] = undefined
    if (call !== undefined) this.#open--
    return call
  }

  /** The last open one takes the job with it; of several, only its own task is to stop. */
  async #cancel(index: number): Promise<void> {
    const call = this.#take(index)
    if (call === undefined) return
    const { task } = this.#kind
    const message = `The task ${JSON.stringify(task)} (${this.id}/${index}) was cancelled before it had a result.`
    const error = new TaskCancelledError(message, { task, jobId: this.id, index, attempt: 0, worker: '' })
    call.reject(error)
    if (this.#open === 0) {
      await this.opening.cancel()
      return
    }
    const job = await this.opening.opened
    await job.cancelTask(
      index,
      encodeOutcome({ code: 'TASK_CANCELLED', attempt: 1, worker: '', error: describeFailure(error) }),
    )
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
