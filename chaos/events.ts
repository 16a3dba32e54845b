import type { SubmitMessage } from '../src/store/trace.ts'

/**
 * What the processes of a run write down, each into files of its own, outside Redis. One event is one line of JSON. `at` is
 * the machine's clock in ms; `by` is the process, or `<pid>/<thread>` for a thread of a worker.
 */
export type Event = { readonly at: number; readonly by: string } & Happening

/** The process of a thread or process. */
export function pidOf(by: string): string {
  return by.split('/')[0] ?? by
}

export type Happening = TaskHappening | SubmitHappening | CommitHappening | DriverHappening | FaultHappening

/** Chunks, runs: consecutive tasks of a job. */
export interface Span {
  readonly job: string
  readonly first: number
  readonly count: number
}

export function holds(span: Span, job: string, index: number): boolean {
  return span.job === job && index >= span.first && index < span.first + span.count
}

export interface CommittedSpan extends Span {
  /** These tasks gave no result: it is their failure that is handed in. */
  readonly failed?: true
}

export type TaskHappening =
  | { readonly type: 'started'; readonly job: string; readonly index: number; readonly attempt: number }
  | {
      readonly type: 'effect'
      readonly job: string
      readonly index: number
      readonly attempt: number
      /** The token under which the thread held the task: the name of its claim, which the commit's fence checks. */
      readonly claim: string
      readonly value: number
    }

/** One call of `submit`, for the tasks `[from, to)` of a job's part. */
export type SubmitHappening =
  | {
      readonly type: 'submit'
      /** With `by` it names the call. */
      readonly call: number
      readonly state: 'invoked'
      readonly job: string
      readonly incarnation: string
      readonly from: number
      readonly to: number
    }
  | { readonly type: 'submit'; readonly call: number; readonly state: Exclude<SubmitMessage['state'], 'invoked'> }

export type CommitHappening =
  | { readonly type: 'claimed'; readonly claim: string; readonly chunks: readonly Span[] }
  | {
      readonly type: 'commit'
      /** With `by` it names the call. */
      readonly call: number
      readonly state: 'invoked'
      readonly claim: string
      /** Of the job's part: a new one begins when Redis has lost results that the driver knows of. */
      readonly incarnation: string
      readonly spans: readonly CommittedSpan[]
    }
  | {
      readonly type: 'commit'
      readonly call: number
      readonly state: 'committed' | 'discarded' | 'fenced' | 'refused' | 'unknown'
    }

export type DriverHappening =
  | { readonly type: 'begun'; readonly job: string; readonly spec: JobSpec }
  | { readonly type: 'attached'; readonly job: string; readonly how: 'attach' | 'same id' }
  | { readonly type: 'submitted'; readonly job: string }
  | { readonly type: 'result'; readonly job: string; readonly index: number; readonly value: number }
  | { readonly type: 'failed'; readonly job: string; readonly index: number; readonly code: string }
  | { readonly type: 'ended'; readonly job: string; readonly ending: Ending }

export type Ending =
  | { readonly how: 'complete'; readonly aggregate?: number }
  | {
      readonly how: 'error'
      readonly code: string
      readonly message: string
      /** Of an InputsIncompleteError. */
      readonly submitted?: number
    }

export type FaultHappening =
  | { readonly type: 'fault'; readonly fault: string; readonly state: 'begins' | 'ends'; readonly note?: string }
  /** From the first to the second Redis went back to an earlier state, or to none. */
  | { readonly type: 'history'; readonly state: 'ends' | 'begins' }
  /** The worker, or the driver, is gone; nobody but the harness did it. */
  | { readonly type: 'killed'; readonly pid: string; readonly what: 'worker' | 'driver' }
  /** `declaredDead`: before the worker went on, Redis had declared it dead and taken from it what it held. */
  | { readonly type: 'frozen'; readonly pid: string; readonly what: 'worker' | 'driver' }
  | {
      readonly type: 'thawed'
      readonly pid: string
      readonly what: 'worker' | 'driver'
      readonly declaredDead: boolean
    }

/** How a job is made, which says what must come of it. */
export interface JobSpec {
  readonly workload: Workload
  readonly count: number
  /** The task's result is `value(salt, index)`. */
  readonly salt: number
  /** What a task takes, in ms. */
  readonly ms: number
  /** Tasks that do harm, by index. */
  readonly poison: Readonly<Record<string, Poison>>
  /** Its results are streamed as they come, so that they are released out of order, and who attaches sees gaps. */
  readonly unordered?: boolean
}

export const workloads = ['stream', 'reduce', 'detached', 'range', 'burst', 'calls', 'burn', 'poison'] as const
export type Workload = (typeof workloads)[number]

export const poisons = ['exit', 'kill', 'loop', 'throw', 'unencodable', 'heap'] as const
/**
 * exit: process.exit() in the thread. kill: SIGKILL to the own process. loop: for ever. throw: always. unencodable: returns a
 * function. heap: fills the thread's heap.
 */
export type Poison = (typeof poisons)[number]

/** The time limit of poisonous tasks. */
export const poisonLimitMs = 10_000

/** The code that a poisonous task's outcome must have. */
export const codeOfPoison: Readonly<Record<Poison, string>> = {
  exit: 'TASK_QUARANTINED',
  kill: 'TASK_QUARANTINED',
  heap: 'TASK_QUARANTINED',
  loop: 'TASK_TIMEOUT',
  throw: 'TASK_FAILED',
  unencodable: 'TASK_FAILED',
}

const stride = 1_000_003

/** Tells job and index, so that no two tasks of a run are mistaken for one another. */
export function valueOf(salt: number, index: number): number {
  return salt + index * stride
}

/** The index that a result is of, or undefined when it is no result of that job. */
export function indexOf(salt: number, value: number): number | undefined {
  const index = (value - salt) / stride
  return Number.isInteger(index) && index >= 0 ? index : undefined
}
