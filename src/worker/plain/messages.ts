import type { WithPort } from '../private-thread.ts'

/** What the main thread of a plain-Redis worker and its threads say to each other. One call at a time per thread. */
export interface PlainThreadData extends WithPort {
  /** URL of the bundled task module. */
  readonly module: string
  /** Path of its source, for errors. */
  readonly source: string
  readonly task: string
  readonly worker: string
  readonly thread: number
}

export interface PlainCall {
  readonly call: number
  readonly input: unknown
  readonly field: string
  readonly attempt: number
  readonly timeoutMs: number | undefined
}

export type FromPlainThread =
  | {
      readonly type: 'ready'
      readonly retries: number
      readonly backoffMs: number
      readonly maxBackoffMs: number
      readonly timeoutMs: number | undefined
    }
  | { readonly type: 'failed'; readonly code: string; readonly message: string }
  | { readonly type: 'log'; readonly line: string }
  | { readonly type: 'done'; readonly call: number; readonly value: string | Uint8Array }
  | {
      readonly type: 'threw'
      readonly call: number
      readonly name: string
      readonly message: string
      readonly stack: string
    }
