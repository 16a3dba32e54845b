import { UsageError } from '../errors.ts'

/**
 * What a task function gets beside its input.
 *
 * @typeParam S what `{ shared }` holds for the job; `undefined` for a task that shares nothing.
 */
export interface TaskContext<S = undefined> {
  readonly jobId: string
  /** The task's place in its job, from 0. */
  readonly index: number
  /** 1 for the first attempt. */
  readonly attempt: number
  /** The worker that runs this attempt, as `host:pid/thread`. */
  readonly worker: string
  /** Aborted when the task is cancelled or runs out of time: hand it to whatever waits. */
  readonly signal: AbortSignal
  /** The job's `{ shared }` value, decoded once per thread: don't change it. */
  readonly shared: S
  /** Writes to the worker's log, with the task's name and index in front. */
  log(...values: unknown[]): void
}

/** Options of {@link task}: how the tasks of one function are repeated, limited and run side by side. */
export interface TaskOptions {
  /** How often a task that failed is run again. @default 0 */
  readonly retries?: number
  /** The longest time for one attempt, in ms. Code that never yields is ended with its thread. @default no limit */
  readonly timeoutMs?: number
  /** The delay before the first retry, in ms; it doubles from one retry to the next. @default 100 */
  readonly backoffMs?: number
  /** The longest delay before a retry, in ms. @default 30_000, or `backoffMs` where that is more */
  readonly maxBackoffMs?: number
  /**
   * How many tasks of this function a thread runs at a time. More than 1 pays for tasks that wait (network, files),
   * and only costs memory for those that compute. @default 1
   */
  readonly concurrency?: number
}

/** {@link TaskOptions} after validation, with their defaults. */
export interface ResolvedTaskOptions {
  readonly retries: number
  /** `undefined` where there is no limit. */
  readonly timeoutMs: number | undefined
  readonly backoffMs: number
  readonly maxBackoffMs: number
  readonly concurrency: number
}

// Registered symbols, so that two copies of this package in one process (the user's and that of a global
// `millrace` command) know each other's tasks.
const taskBrand: unique symbol = Symbol.for('millrace.task')
const reducerBrand: unique symbol = Symbol.for('millrace.reducer')

/** A named function that workers can run, made by {@link task}. */
export interface Task<I, O, S = undefined> {
  readonly name: string
  readonly fn: (input: I, ctx: TaskContext<S>) => O | Promise<O>
  readonly options: ResolvedTaskOptions
  readonly [taskBrand]: true
}

/** A named associative function of two values, made by {@link reducer}. */
export interface Reducer<T> {
  readonly name: string
  readonly fn: (a: T, b: T) => T
  readonly [reducerBrand]: true
}

/** The argument of `setup`, which a task module may export: it runs once in each thread, before the first task. */
export interface SetupContext {
  /** The worker, as `host:pid`. */
  readonly worker: string
  /** The thread's number in its worker, from 0. */
  readonly thread: number
}

/**
 * Names a function so that workers can find and run it. Call it at the top level of a module of its own and export
 * what it returns; the function must not use variables of a surrounding function.
 *
 * @throws {UsageError} for a name or an option that can't be used.
 * @example
 * export const square = task('square', (x: number) => x * x)
 * export const fetchPage = task('fetch-page', (url: string, ctx) => get(url, ctx.signal), { retries: 3, timeoutMs: 30_000 })
 */
export function task<I = undefined, O = unknown, S = undefined>(
  name: string,
  fn: (input: I, ctx: TaskContext<S>) => O | Promise<O>,
  options: TaskOptions = {},
): Task<I, Awaited<O>, S> {
  return blame(task, () => {
    checkNameAndFunction('task', name, fn)
    return Object.freeze({
      name,
      // O | Promise<O> and Awaited<O> | Promise<Awaited<O>> are the same to whoever awaits it, which the compiler can't see.
      fn: fn as Task<I, Awaited<O>, S>['fn'],
      options: Object.freeze(resolveTaskOptions(name, options)),
      [taskBrand]: true as const,
    })
  })
}

/**
 * Names a function that combines two results into one, so that workers can apply it too. It must be associative:
 * the order of values is kept, the bracketing is not.
 *
 * @throws {UsageError} for a name that can't be used.
 * @example export const add = reducer('add', (a: number, b: number) => a + b)
 */
export function reducer<T>(name: string, fn: (a: T, b: T) => T): Reducer<T> {
  return blame(reducer, () => {
    checkNameAndFunction('reducer', name, fn)
    return Object.freeze({ name, fn, [reducerBrand]: true as const })
  })
}

/** Whether the value came from {@link task}, of this or another copy of the package. */
export function isTask(value: unknown): value is Task<unknown, unknown, unknown> {
  return typeof value === 'object' && value !== null && taskBrand in value
}

/** Whether the value came from {@link reducer}, of this or another copy of the package. */
export function isReducer(value: unknown): value is Reducer<unknown> {
  return typeof value === 'object' && value !== null && reducerBrand in value
}

/** The longest delay that a timer of Node takes. */
const longestMs = 2 ** 31 - 1
const optionNames = new Set(['retries', 'timeoutMs', 'backoffMs', 'maxBackoffMs', 'concurrency'])

function resolveTaskOptions(name: string, options: TaskOptions): ResolvedTaskOptions {
  const unknown = Object.keys(options).find(key => !optionNames.has(key))
  if (unknown !== undefined) {
    throw new UsageError(
      `The task ${JSON.stringify(name)} has an option ${JSON.stringify(unknown)}, which there is not: use ${[...optionNames].join(', ')}.`,
    )
  }
  const number = (option: keyof TaskOptions, value: unknown, range: { least: number; most: number; whole?: boolean }) =>
    checkNumber(`${option} of the task ${JSON.stringify(name)}`, value, range)
  const backoffMs = number('backoffMs', options.backoffMs ?? 100, { least: 0, most: longestMs })
  const maxBackoffMs = options.maxBackoffMs ?? Math.max(backoffMs, 30_000)
  return {
    retries: number('retries', options.retries ?? 0, { least: 0, most: 1_000_000, whole: true }),
    timeoutMs:
      options.timeoutMs === undefined
        ? undefined
        : number('timeoutMs', options.timeoutMs, { least: 1, most: longestMs }),
    backoffMs,
    maxBackoffMs: number('maxBackoffMs', maxBackoffMs, { least: backoffMs, most: longestMs }),
    concurrency: number('concurrency', options.concurrency ?? 1, { least: 1, most: 10_000, whole: true }),
  }
}

function checkNumber(
  what: string,
  value: unknown,
  { least, most, whole = false }: { least: number; most: number; whole?: boolean },
): number {
  if (typeof value === 'number' && value >= least && value <= most && (!whole || Number.isInteger(value))) return value
  const given = typeof value === 'number' ? String(value) : `of type ${typeof value}`
  throw new UsageError(`${what} can't be ${given}: give a ${whole ? 'whole ' : ''}number from ${least} to ${most}.`)
}

function checkNameAndFunction(kind: 'task' | 'reducer', name: unknown, fn: unknown): void {
  const example = `${kind}(${kind === 'task' ? `'square', x => x * x` : `'add', (a, b) => a + b`})`
  if (typeof name !== 'string') {
    throw new UsageError(`The first argument of ${kind}() is its name, not a ${typeof name}: write ${example}.`)
  }
  if (name.length === 0 || name.length > 200 || /\p{Cc}/u.test(name)) {
    throw new UsageError(
      `${JSON.stringify(name.slice(0, 60))} can't be the name of a ${kind}, because names travel and are printed: use 1 to 200 characters, none of them a control character.`,
    )
  }
  if (typeof fn !== 'function') {
    throw new UsageError(
      `The ${kind} ${JSON.stringify(name)} has no function: its second argument is ${fn === null ? 'null' : `of type ${typeof fn}`}; write ${example}.`,
    )
  }
}

/** Lets the stack of what `make` throws begin at the line of the user that called `caller`. */
function blame<T>(caller: (...args: never[]) => unknown, make: () => T): T {
  try {
    return make()
  } catch (error) {
    if (error instanceof Error) Error.captureStackTrace(error, caller)
    throw error
  }
}
