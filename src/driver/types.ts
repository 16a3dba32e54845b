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
  /** Work of one queue is only seen by workers of that queue. @default the environment's `MILLRACE_QUEUE`, else 'default' */
  readonly queue?: string
  /** Prefix of every key and channel. @default the environment's `MILLRACE_NAMESPACE`, else 'millrace' */
  readonly namespace?: string
  /** How long to wait for Redis before `connect` rejects, in ms. @default 10_000 */
  readonly connectTimeoutMs?: number
}

/** Options of `run` and `submit`. */
export interface SubmitOptions {
  /** Cancels the work when it aborts; one that was aborted before submits nothing. */
  readonly signal?: AbortSignal
  /** Jobs of a higher priority are claimed first; a whole number between −1000 and 1000. @default 0 */
  readonly priority?: number
  /**
   * The same id with the same task and code resumes what is there instead of starting anew. 1 to 128 letters, digits,
   * dots, dashes, underscores and colons. It is free again when its results have been collected. @default a random one
   */
  readonly id?: string
}

/** Options of `map`. */
export interface MapOptions<S = unknown> extends SubmitOptions {
  /** `false`: iteration yields `[index, value]` as tasks complete. @default true */
  readonly ordered?: boolean
  /**
   * Submits all inputs, however many, as fast as they come, so that the driver may leave after `submitted()`. Otherwise
   * a bounded number of tasks and bytes is in Redis at a time, and inputs are pulled as results are used. @default false
   */
  readonly detached?: boolean
  /** A value that is stored once and that every task of the job finds as `ctx.shared`. */
  readonly shared?: S
  /** How long results and waiting tasks are kept once nobody drives the job, in ms. @default 24 hours */
  readonly keepMs?: number
}

/** Anything `map` takes its inputs from. A `Range` travels without payload. */
export type Inputs<I> = Iterable<I> | AsyncIterable<I>

/** One outcome of `settled()`, like those of `Promise.allSettled`. */
export type Settled<O> =
  { readonly status: 'fulfilled'; readonly value: O } | { readonly status: 'rejected'; readonly reason: Error }

/** How far a job is. */
export interface Progress {
  /** Inputs in all, or undefined while they are still being pulled. */
  readonly total: number | undefined
  readonly submitted: number
  readonly waiting: number
  /** With a thread, or on the way to one. */
  readonly running: number
  /** Waiting for a retry. */
  readonly delayed: number
  /** Settled with a result. */
  readonly done: number
  readonly failed: number
  /** Used by the consumer. */
  readonly collected: number
  /** What the job waits for right now, in words; undefined while tasks are running, and after the end. */
  readonly waitingFor: string | undefined
}

/**
 * Many tasks of one task function. One consumer: iteration, `results`, `settled` or `reduce`; a second one throws
 * {@link JobAlreadyConsumedError}. Not a thenable.
 *
 * Iteration gives results in input order with bounded memory, throws the first task's error by index, and cancels the
 * rest when the loop is left. A result is released in Redis when the next one is asked for: across a crash of the driver,
 * a consumer that attaches gets some of the last ones again.
 *
 * Every consumer rejects with {@link JobCancelledError} when the job is cancelled, {@link CollectorReplacedError} when
 * another connection attaches to it, {@link CodeMismatchError} or {@link UnknownTaskError} when no worker can run it, and
 * {@link UnencodableValueError} for an input that cannot travel.
 *
 * @example
 * for await (const y of mill.map(square, range(1_000_000))) use(y)
 * const all = await mill.map(square, xs).results()
 * const sum = await mill.map(square, xs).reduce(add, 0)
 */
export interface Job<O> extends AsyncIterable<O> {
  /** What `attach` takes. */
  readonly id: string
  /**
   * All results in input order; keeps them in Redis until it resolves. Of an attached job: those that no earlier consumer
   * has used.
   * @throws {TaskError} the first by index, after which the rest are cancelled.
   */
  results(): Promise<O[]>
  /** All outcomes in input order, like `Promise.allSettled`: never rejects for a task. */
  settled(): Promise<Settled<O>[]>
  /**
   * Combines all results from the left, beginning with `initial`. A registered reducer, given in the turn of `map`, is
   * applied on the workers first: the order is kept, the bracketing is not. What it has so far is stored with every
   * release, so that a consumer that attaches after a crash counts each result once; it must be able to travel.
   * @throws {TaskError} the first by index. @throws {UnencodableValueError} for an accumulator that cannot travel.
   */
  reduce<A = O>(reducer: Reducer<O> | ((accumulator: A, value: O) => A), initial: A): Promise<A>
  progress(): Promise<Progress>
  /** Resolves when every input is in Redis: from then on a detached job needs no driver. */
  submitted(): Promise<void>
  /** Stops what is queued, and what is running within a second. */
  cancel(): Promise<void>
}

/** A job whose iteration yields `[index, value]` as tasks complete. Its other consumers are in input order. */
export type UnorderedJob<O> = Omit<Job<O>, typeof Symbol.asyncIterator> &
  AsyncIterable<readonly [index: number, value: O]>

/** One task. Not a thenable: ask for `result()`. */
export interface Handle<O> {
  /** The id of the job that the task belongs to, and its index there: `<job>/<index>`. */
  readonly id: string
  /** @throws {TaskError} when it failed on every attempt. @throws {TaskCancelledError} after `cancel`. */
  result(): Promise<O>
  /**
   * Rejects `result()` at once. A task that waits is taken out and never runs; one that runs gets its signal aborted and
   * is stopped within a second. One that a thread is just about to start may run once more, and its result is ignored.
   */
  cancel(): Promise<void>
}

/** One thread's answer to a broadcast. `error`: what the task threw there, or a {@link BroadcastTimeoutError}. */
export type BroadcastAnswer<O> = { readonly worker: string; readonly thread: number } & (
  { readonly value: O } | { readonly error: Error }
)

/** `undefined` may be left out as the input. */
export type InputArguments<I, P> = undefined extends I ? [input?: I, options?: P] : [input: I, options?: P]

/**
 * A connection to a fleet, made by `connect`. Everything throws or rejects with {@link ConnectionClosedError} once it is
 * closed, and with {@link UsageError} for arguments that can't be used. While Redis is away everything waits.
 */
export interface Mill extends AsyncDisposable {
  /** One task, one result; it needs no handle, and is the quickest. @example await mill.run(square, 12) // 144 */
  run<I, O, S>(task: Task<I, O, S>, ...args: InputArguments<I, SubmitOptions>): Promise<O>
  /** One task; those submitted in the same turn travel together as one job. @example const handle = mill.submit(score, row) */
  submit<I, O, S>(task: Task<I, O, S>, ...args: InputArguments<I, SubmitOptions>): Handle<O>
  /**
   * Many tasks of one task function: one for each input. Inputs are pulled lazily, with backpressure.
   *
   * With an `id` that is there already it goes on collecting that job, and skips as many inputs as were submitted: give
   * the same ones again. {@link JobConflictError} where that job has another task, code or range.
   * @example const job = mill.map(score, rows, { signal, shared: model })
   */
  map<I, O, S>(
    task: Task<I, O, S>,
    inputs: Inputs<I>,
    options: MapOptions<S> & { readonly ordered: false },
  ): UnorderedJob<O>
  map<I, O, S>(task: Task<I, O, S>, inputs: Inputs<I>, options?: MapOptions<S>): Job<O>
  /**
   * Runs the task once in every live thread that has its code, between two of the thread's tasks, and gives each one's
   * answer, or a BroadcastTimeoutError for a thread that has not answered within `timeoutMs` (10 s).
   * @example await mill.broadcast(reload, config)
   */
  broadcast<I, O, S>(
    task: Task<I, O, S>,
    ...args: InputArguments<I, { readonly timeoutMs?: number }>
  ): Promise<BroadcastAnswer<O>[]>
  /**
   * Goes on collecting a job from any process, after any crash; whoever collected it before is refused from then on.
   *
   * Detached and `range` jobs are finished whole. Of others, what was submitted and not used is given, and then
   * {@link InputsIncompleteError} says how many inputs that was. What Redis lost meanwhile is {@link TasksLostError}.
   * @throws {JobNotFoundError} when there is none. @throws {JobConflictError} when it runs another task.
   * @example for await (const y of await mill.attach('nightly-2026-11-23', score)) use(y)
   */
  attach(id: string): Promise<Job<unknown>>
  attach<I, O, S>(id: string, task: Task<I, O, S>): Promise<Job<O>>
  /** The live workers of the queue. */
  workers(): Promise<WorkerView[]>
  /** Has Redis write a snapshot (BGSAVE), and waits for its verdict. @throws {SnapshotError} */
  snapshot(): Promise<SnapshotReport>
  /** What a crash of Redis would lose right now. */
  durability(): Promise<DurabilityReport>
  /**
   * Ends the connection, the local worker and the hold on the embedded Redis. Jobs that are detached or have an id of the
   * user's stay and can be attached to; others are cancelled. Safe twice.
   */
  close(): Promise<void>
}
