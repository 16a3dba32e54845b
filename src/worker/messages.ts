import type { ResolvedTaskOptions } from '../code/task.ts'
import type { FailureRecord } from '../protocol/failure.ts'
import type { RedisTarget } from '../store/target.ts'
import type { WithPort } from './private-thread.ts'

/** What a thread is started with. */
export interface ThreadData extends WithPort {
  readonly target: RedisTarget
  readonly namespace: string
  readonly queue: string
  /** The lanes of the queue that were known when it started. */
  readonly lanes: readonly number[]
  /** The thread's number, from 0. */
  readonly thread: number
  /** The process, as `host:pid`. */
  readonly host: string
  readonly hash: string
  readonly leaseMs: number
  /** Address of the bundle, and the path of its source for messages. */
  readonly bundle: string
  readonly source: string
  readonly board: SharedArrayBuffer
  /** The process's SuspectGate. */
  readonly suspects: SharedArrayBuffer
}

/** What the main thread says to a thread. */
export type ToThread =
  /** The worker is registered under this id on a lane: claim for it there from now on, and forget claims made under another. */
  | { readonly type: 'registered'; readonly worker: string; readonly lane: number }
  /** These are the queue's lanes now. */
  | { readonly type: 'lanes'; readonly lanes: readonly number[] }
  /** There is work on a lane. `look`: this thread is to look there even if it waits on another lane. */
  | { readonly type: 'work'; readonly lane: number; readonly look: boolean }
  /** Work stands in line although this thread may be waiting: it is to look for itself. */
  | { readonly type: 'look' }
  | { readonly type: 'cancel'; readonly job: string; readonly incarnation: string; readonly index: number | undefined }
  | BroadcastRequest
  | {
      readonly type: 'shared'
      readonly job: string
      readonly incarnation: string
      /** The encoded value, or undefined when Redis does not have it. */
      readonly bytes: SharedArrayBuffer | undefined
    }
  /** Finish what runs, claim nothing more. */
  | { readonly type: 'drain' }

export interface BroadcastRequest {
  readonly type: 'broadcast'
  readonly id: string
  readonly lane: number
  readonly deadlineMs: number
  readonly replyChannel: string
  readonly task: string
  readonly input: Uint8Array
}

/** What a thread says to the main thread. */
export type FromThread =
  | { readonly type: 'ready'; readonly tasks: readonly TaskDescription[]; readonly reducers: readonly string[] }
  /** The module could not be loaded, or its `setup` failed. */
  | { readonly type: 'failed'; readonly error: FailureRecord; readonly stack: string }
  /** The thread is about to enrol and use this claim id: from now on the main thread answers for what is in it. */
  | { readonly type: 'claim'; readonly id: string; readonly lane: number }
  /** The thread will not touch this claim again; what is left in it goes back. `blocked`: a BLMOVE may still fill it. */
  | { readonly type: 'abandon'; readonly id: string; readonly blocked: boolean }
  /** The lane does not know this worker any more. */
  | { readonly type: 'unknown'; readonly worker: string; readonly lane: number }
  /** The thread waited on one lane and found work on this one, where there may be more. */
  | { readonly type: 'found'; readonly lane: number }
  | { readonly type: 'shared'; readonly job: string; readonly incarnation: string; readonly lane: number }
  | { readonly type: 'log'; readonly level: 'info' | 'warn'; readonly line: string }
  | { readonly type: 'drained' }

/** What the main thread knows of a task function, so that it can judge when the thread is gone. */
export interface TaskDescription {
  readonly name: string
  readonly options: ResolvedTaskOptions
}
