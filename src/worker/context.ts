import { format } from 'node:util'
import type { TaskContext } from '../code/task.ts'

/** What the tasks of one chunk have in common. */
export interface ChunkContext {
  readonly jobId: string
  readonly first: number
  readonly attempt: number
  readonly worker: string
  readonly shared: unknown
  readonly task: string
  readonly writeLine: (line: string) => void
}

/** The context of one task. Made for every task, so what few tasks ask for is made when they ask. */
export class RunningTask implements TaskContext<unknown> {
  readonly #chunk: ChunkContext
  readonly #offset: number
  #aborter: AbortController | undefined
  #aborted: { readonly reason: unknown } | undefined

  constructor(chunk: ChunkContext, offset: number) {
    this.#chunk = chunk
    this.#offset = offset
  }

  get jobId(): string {
    return this.#chunk.jobId
  }

  get index(): number {
    return this.#chunk.first + this.#offset
  }

  get attempt(): number {
    return this.#chunk.attempt
  }

  get worker(): string {
    return this.#chunk.worker
  }

  get shared(): unknown {
    return this.#chunk.shared
  }

  get signal(): AbortSignal {
    if (this.#aborter === undefined) {
      this.#aborter = new AbortController()
      if (this.#aborted !== undefined) this.#aborter.abort(this.#aborted.reason)
    }
    return this.#aborter.signal
  }

  /** A function of its own, so that `const { log } = ctx` works. */
  get log(): (...values: unknown[]) => void {
    return (...values) => {
      this.#chunk.writeLine(`${this.#chunk.task} ${this.jobId}/${this.index}: ${format(...values)}`)
    }
  }

  /** Aborts the signal, or has it be aborted when the task asks for it. */
  abort(reason: unknown): void {
    this.#aborted ??= { reason }
    this.#aborter?.abort(reason)
  }
}
