import { setTimeout as sleep } from 'node:timers/promises'
import { jitteredBackoffMs } from '../runtime/backoff.ts'
import type { Log } from '../runtime/log.ts'
import type { FromThread, ToThread } from './messages.ts'
import { SuspectGate } from './suspect-gate.ts'
import { ThreadHandle } from './thread-handle.ts'
import type { ThreadExit, ThreadModule, ThreadStart, Verdict } from './thread-handle.ts'

export interface CrewOptions {
  readonly threads: number
  /** Called before each start, for what a thread is started with. */
  readonly prepare: () => Promise<ThreadStart>
  readonly onMessage: (message: FromThread, from: ThreadHandle) => void
  /** A thread is gone. Its successor is started without waiting for this. */
  readonly onExit: (thread: ThreadHandle, exit: ThreadExit) => void
  /** A thread that took the place of another is ready. */
  readonly onReplaced: (thread: ThreadHandle) => void
  readonly log: Log
}

/** The threads of a worker: starts them, and replaces those that end. */
export class Crew {
  readonly #options: CrewOptions
  readonly #threads = new Set<ThreadHandle>()
  readonly #suspects = new SuspectGate()
  #stopping = false

  constructor(options: CrewOptions) {
    this.#options = options
  }

  /** Those that have not ended. */
  get threads(): readonly ThreadHandle[] {
    return [...this.#threads]
  }

  /** Starts all threads, and resolves when they have loaded the task module; rejects with what the first of them says. */
  async start(): Promise<ThreadModule> {
    const { threads, prepare } = this.#options
    const start = await prepare()
    const first = Array.from({ length: threads }, (_, number) => this.#begin(number, start))
    const modules = await Promise.all(first.map(thread => thread.ready))
    for (const thread of first) this.#watch(thread)
    return modules[0]!
  }

  post(message: ToThread): void {
    for (const thread of this.#threads) thread.post(message)
  }

  /** No thread is replaced from now on. */
  stopReplacing(): void {
    this.#stopping = true
  }

  /** Ends all threads that are left. False when one is not gone within `withinMs`. */
  async end(withinMs: number, verdict: Verdict = { kind: 'drain' }): Promise<boolean> {
    this.#stopping = true
    const gone = await Promise.all(this.threads.map(thread => thread.end(verdict, withinMs)))
    return gone.every(Boolean)
  }

  #begin(number: number, start: ThreadStart): ThreadHandle {
    const thread = new ThreadHandle(
      number,
      start,
      {
        onMessage: this.#options.onMessage,
        onExit: () => {
          this.#threads.delete(thread)
          this.#suspects.leave(number)
        },
      },
      this.#suspects.buffer,
    )
    this.#threads.add(thread)
    return thread
  }

  #watch(thread: ThreadHandle): void {
    whenExited(thread, exit => {
      this.#options.onExit(thread, exit)
      if (!this.#stopping) this.#replace(thread.number).catch(never)
    })
  }

  async #replace(number: number): Promise<void> {
    const { prepare, onReplaced, log } = this.#options
    for (let attempt = 1; ; attempt++) {
      let thread: ThreadHandle | undefined
      try {
        const start = await prepare()
        // One that began now would not know of a drain that began meanwhile.
        if (this.#stopping) return
        thread = this.#begin(number, start)
        await thread.ready
        this.#watch(thread)
        onReplaced(thread)
        return
      } catch (error) {
        const pauseMs = jitteredBackoffMs(attempt, { firstMs: 200, mostMs: 10_000 })
        log.warn(`thread ${number} could not be started again, next try in ${pauseMs} ms: ${(error as Error).message}`)
        // What its module has opened would keep it alive beside its successor.
        await Promise.all([sleep(pauseMs), thread?.end({ kind: 'drain' }, pauseMs)])
      }
    }
  }
}

/** `exited` never rejects. */
function whenExited(thread: ThreadHandle, act: (exit: ThreadExit) => void): void {
  thread.exited.then(act).catch(never)
}

function never(error: unknown): void {
  // Thrown where it ends the process: a thread that nobody replaces, or whose claims nobody sees to, must not go unseen.
  setImmediate(() => {
    throw error
  })
}
