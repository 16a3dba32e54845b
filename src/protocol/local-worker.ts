/**
 * What a driver and its local worker process say to each other over the IPC channel that `fork` makes (structured
 * clone serialization). The channel's end is the worker's sign to drain and exit.
 */
export interface StartLocalWorker {
  readonly type: 'start'
  /** The driver's Redis target (plain data; see `store/target.ts`). */
  readonly target: unknown
  readonly namespace: string
  readonly queue: string
  readonly threads: number
  /** File URL of the task module. */
  readonly tasks: string
  /** What the driver calls this run of the process. */
  readonly launch: string
}

export type FromLocalWorker =
  | { readonly type: 'ready'; readonly worker: string; readonly hash: string; readonly tasks: readonly string[] }
  | { readonly type: 'failed'; readonly code: string; readonly message: string }
  /** A line that it logged, for the evidence of what may take it down next. */
  | { readonly type: 'log'; readonly line: string }
