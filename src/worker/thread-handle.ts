import type { ResourceLimits } from 'node:worker_threads'
import { TaskModuleError, WorkerStartError } from '../errors.ts'
import { reviveFailure } from '../protocol/failure.ts'
import { withResolvers } from '../runtime/with-resolvers.ts'
import { Board } from './board.ts'
import type { FromThread, TaskDescription, ThreadData, ToThread } from './messages.ts'
import { startPrivateThread } from './private-thread.ts'
import type { PrivateThread, WithPort } from './private-thread.ts'

export interface ThreadStart {
  readonly data: Omit<ThreadData, 'board' | 'thread' | 'suspects' | 'port'>
  readonly resourceLimits: ResourceLimits
}

/** How a thread ended. */
export interface ThreadExit {
  readonly code: number
  /** What it did not catch, or that its heap was full. */
  readonly error: Error | undefined
}

/** Why the main thread ends a thread; undefined when it died by itself. */
export type Verdict =
  /** The task on the stack, or the loop, is past its time limit. */
  | { readonly kind: 'timeout' | 'cancel'; readonly batch: number; readonly task: number }
  /** Its process is over its memory limit, and goes on taking more. */
  | { readonly kind: 'memory'; readonly megabytes: number; readonly rssMb: number }
  /** Its loop does not turn, though no task runs. */
  | { readonly kind: 'standstill' }
  /** No one's fault. */
  | { readonly kind: 'drain' }

export interface ThreadEvents {
  readonly onMessage: (message: FromThread, from: ThreadHandle) => void
  /** Before `exited` resolves. */
  readonly onExit: () => void
}

export interface ThreadModule {
  readonly tasks: readonly TaskDescription[]
  readonly reducers: readonly string[]
}

const keptLines = 20

/** One thread, from its start to its end, as the main thread sees it. */
export class ThreadHandle {
  readonly number: number
  readonly board = new Board()
  /** The claims that the thread may use, by id, with their lanes. */
  readonly claims = new Map<string, number>()
  /** What its tasks logged last. */
  readonly lastLines: string[] = []
  /** Rejects when the module can't be loaded, or the thread ends before it is. */
  readonly ready: Promise<ThreadModule>
  /** Never rejects. */
  readonly exited: Promise<ThreadExit>
  /** Set before the thread is ended. */
  verdict: Verdict | undefined
  /** The thread has handed in everything, and ends. */
  drained = false
  readonly #thread: PrivateThread

  constructor(
    number: number,
    { data, resourceLimits }: ThreadStart,
    { onMessage, onExit }: ThreadEvents,
    suspects: SharedArrayBuffer,
  ) {
    this.number = number
    const workerData: Omit<ThreadData, keyof WithPort> = {
      ...data,
      thread: number,
      board: this.board.buffer,
      suspects,
    }
    const ready = withResolvers<ThreadModule>()
    this.ready = ready.promise
    this.ready.catch(() => undefined)
    this.#thread = startPrivateThread(
      threadEntry(),
      { workerData, resourceLimits, name: `millrace ${number}` },
      received => {
        const message = received as FromThread
        if (message.type === 'ready') ready.resolve(message)
        else if (message.type === 'failed') ready.reject(moduleError(message))
        onMessage(message, this)
      },
    )
    let error: Error | undefined
    this.#thread.worker.on('error', thrown => {
      error = thrown instanceof Error ? thrown : new Error(String(thrown))
    })
    this.exited = new Promise(resolve => {
      this.#thread.worker.once('exit', code => {
        ready.reject(loadingError({ code, error }))
        onExit()
        resolve({ code, error })
      })
    })
  }

  post(message: ToThread): void {
    this.#thread.port.postMessage(message)
  }

  log(line: string): void {
    this.lastLines.push(line)
    if (this.lastLines.length > keptLines) this.lastLines.shift()
  }

  /** Ends the thread, wherever its code is. False when it is not gone within `withinMs`: native code does not listen. */
  async end(verdict: Verdict, withinMs: number): Promise<boolean> {
    this.verdict ??= verdict
    this.#thread.worker.terminate().catch(() => undefined)
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<false>(resolve => {
      timer = setTimeout(resolve, withinMs, false)
    })
    const gone = await Promise.race([this.exited.then(() => true), late])
    clearTimeout(timer)
    return gone
  }
}

/** The thread's file. From source it needs a loader, which a worker thread of Node 20 does not take from `--import`. */
function threadEntry(): URL {
  if (!import.meta.url.endsWith('.ts')) return new URL('./thread.js', import.meta.url)
  const thread = JSON.stringify(new URL('./thread.ts', import.meta.url).href)
  const loader = JSON.stringify(import.meta.resolve('tsx/esm/api'))
  return new URL(
    `data:text/javascript,${encodeURIComponent(`import { register } from ${loader}; register(); await import(${thread})`)}`,
  )
}

function loadingError({ code, error }: ThreadExit): WorkerStartError {
  const reason = error === undefined ? '' : `: ${error.message}`
  return new WorkerStartError(
    `A worker thread ended while it loaded the task module (exit code ${code}${reason}). See to it that importing the module and its setup neither exit nor run out of memory.`,
    { cause: error },
  )
}

function moduleError({ error, stack }: Extract<FromThread, { type: 'failed' }>): TaskModuleError {
  const revived = reviveFailure(error)
  const failure = new TaskModuleError(revived.message, { cause: revived.cause })
  failure.stack = stack === '' ? `${failure.name}: ${failure.message}` : stack
  return failure
}
