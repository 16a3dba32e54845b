import type { Reducer, Task } from '../code/task.ts'
import type { DurabilityReport, SnapshotReport, WorkerView } from '../store/inspect/reports.ts'
import type { RedisInput } from '../store/target.ts'

export type { DurabilityReport, SnapshotReport, WorkerView }

/** Options of `connect`. */
export interface ConnectOptions {
  /**
   * Where Redis is: a URL (`redis://`, `rediss://`, `unix://`), ioredis options (with `sentinels` for Sentinel),
   * `{ cluster: nodes }`, or an ioredis instance, whose options are used for connections of our own.
   * @default the environment's `REDIS_URL`, else an embedded `redis-server` of this project
   */
  readonly redis?: RedisInput
  /** The task module. Needed for a local worker, and to check that workers run the same code as this driver was written against. */
  readonly tasks?: string | URL
  /** Threads of a local worker, in a process of its own. @default one per core with an embedded Redis, else 0 */
  readonly threads?: number
  /** Work of one queue is only seen by workers of that queue. @default 'default' */
  readonly queue?: string
  /** Prefix of every key and channel. @default 'millrace' */
  readonly namespace?: string
  /** How long to wait for Redis before `connect` rejects, in ms. @default 10_000 */
  readonly connectTimeoutMs?: number
}

/** Options of `run` and `submit`. */
export interface SubmitOptions {
  readonly signal?: AbortSignal
  /** Jobs of a higher priority are claimed first; between −1000 and 1000. @default 0 */
  readonly priority?: number
  /** The same id with the same task and code resumes instead of starting anew. */
  readonly id?: string
}

/** Options of `map`. */
export interface MapOptions<S = unknown> extends SubmitOptions {
  /** `false`: iteration yields `[index, value]` as tasks complete. @default true */
  readonly ordered?: boolean
  /** Submit all inputs first, so that the driver may leave. @default false */
  readonly detached?: boolean
  /** A value that is stored once and that every task of the job finds as `ctx.shared`. */
  readonly shared?: S
  /** How long results and waiting tasks are kept once nobody drives the job, in ms. @default 24 hours */
  readonly keepMs?: number
}

/** Anything `map` takes its inputs from. A `Range` travels without payload. */
export type Inputs<I> = Iterable<I> | AsyncIterable<I>

/** One outcome of `settled()`, like those of `Promise.allSettled`. */
export type Settled<O> = { readonly status: 'fulfilled'; readonly value: O } | { readonly status: 'rejected'; readonly reason: Error }

/** How far a job is. */
export interface Progress {
  /** Inputs in all, or undefined while they are still being pulled. */
  readonly total: number | undefined
  readonly submitted: number
  readonly waiting: number
  readonly running: number
  /** Waiting for a retry. */
  readonly delayed: number
  readonly done: number
  readonly failed: number
  readonly collected: number
  /** What the job waits for right now, in words; undefined while tasks are running. */
  readonly waitingFor: string | undefined
}

/** Many tasks of one task function. One consumer: iteration, `results`, `settled` or `reduce`. */
export interface Job<O> extends AsyncIterable<O> {
  readonly id: string
  /** All results in input order; rejects with the first task's error, by index, and cancels the rest. */
  results(): Promise<O[]>
  /** All outcomes in input order. */
  settled(): Promise<Settled<O>[]>
  /** Combines all results. A registered reducer, given in the turn of `map`, is applied on the workers first. */
  reduce<A = O>(reducer: Reducer<O> | ((accumulator: A, value: O) => A), initial: A): Promise<A>
  progress(): Promise<Progress>
  /** Resolves when every input is in Redis: from then on a detached job needs no driver. */
  submitted(): Promise<void>
  /** Stops what is queued, and what is running within a second. */
  cancel(): Promise<void>
}

/** A job whose iteration yields `[index, value]` as tasks complete. */
export type UnorderedJob<O> = Omit<Job<O>, typeof Symbol.asyncIterator> & AsyncIterable<readonly [index: number, value: O]>

/** One task. Not a thenable: ask for `result()`. */
export interface Handle<O> {
  /** The id of the job that the task belongs to, and its index there: `<job>/<index>`. */
  readonly id: string
  result(): Promise<O>
  cancel(): Promise<void>
}

/** One thread's answer to a broadcast. */
export type BroadcastAnswer<O> = { readonly worker: string; readonly thread: number } & ({ readonly value: O } | { readonly error: Error })

/** `undefined` may be left out as the input. */
export type InputArguments<I, P> = undefined extends I ? [input?: I, options?: P] : [input: I, options?: P]

/** A connection to a fleet. */
export interface Mill extends AsyncDisposable {
  /** One task, one result. */
  run<I, O, S>(task: Task<I, O, S>, ...args: InputArguments<I, SubmitOptions>): Promise<O>
  /** One task; those submitted in the same turn travel together as one job. */
  submit<I, O, S>(task: Task<I, O, S>, ...args: InputArguments<I, SubmitOptions>): Handle<O>
  map<I, O, S>(task: Task<I, O, S>, inputs: Inputs<I>, options: MapOptions<S> & { readonly ordered: false }): UnorderedJob<O>
  map<I, O, S>(task: Task<I, O, S>, inputs: Inputs<I>, options?: MapOptions<S>): Job<O>
  /** Runs the task once in every live thread and gives each one's answer. */
  broadcast<I, O, S>(task: Task<I, O, S>, ...args: InputArguments<I, { readonly timeoutMs?: number }>): Promise<BroadcastAnswer<O>[]>
  /** Goes on collecting a job from any process, after any crash. */
  attach(id: string): Promise<Job<unknown>>
  attach<I, O, S>(id: string, task: Task<I, O, S>): Promise<Job<O>>
  workers(): Promise<WorkerView[]>
  /** BGSAVE, waited for. */
  snapshot(): Promise<SnapshotReport>
  durability(): Promise<DurabilityReport>
  close(): Promise<void>
}
