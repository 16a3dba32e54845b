import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { TaskModuleError, WorkerStartError } from '../errors.ts'
import type { MillraceError } from '../errors.ts'
import type { FromLocalWorker, StartLocalWorker } from '../protocol/local-worker.ts'
import { jitteredBackoffMs } from '../runtime/backoff.ts'

/** Starts that may fail one after the other before the worker is given up. */
const mostFailures = 4
/**
 * How often in a row it may end soon after it came up. A task that takes its process down is set aside after a few
 * deaths, which take a lease each to be noticed; so this is for a module that ends its process whatever it runs.
 */
const mostEarlyEnds = 24
/** A worker that came up for so long was fine: what ends it then is counted anew. */
const soundMs = 30_000
/** A worker that says nothing for so long after its start hangs. Compiling and loading a large module takes seconds. */
const startWithinMs = 60_000
/** How long its drain may take: its own limit is a little less. */
const stopWithinMs = 27_000

/** How a worker process ended before it was ready. */
interface Failure {
  readonly code: string | undefined
  readonly message: string
}

/**
 * A worker in a process of its own, so that a busy driver never starves it. It is started again when it dies while the
 * connection is open; its threads' work comes back by itself, like that of any dead worker.
 */
export class LocalWorker {
  readonly #start: Omit<StartLocalWorker, 'type'>
  readonly #onGivenUp: (error: Error) => void
  #child: ChildProcess | undefined
  #stopping = false
  #failures = 0
  #attempts = 0
  #timer: NodeJS.Timeout | undefined
  #everReady = false

  /** `onGivenUp`: it had come up before, and now can't be started any more. */
  constructor(start: Omit<StartLocalWorker, 'type'>, onGivenUp: (error: Error) => void) {
    this.#start = start
    this.#onGivenUp = onGivenUp
  }

  /** Resolves when it takes work. @throws {TaskModuleError | WorkerStartError} when it does not come up. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#launch(resolve, reject)
    })
  }

  /** Has it finish or hand back what it runs, and resolves when it is gone. Safe twice. */
  async stop(): Promise<void> {
    this.#stopping = true
    clearTimeout(this.#timer)
    const child = this.#child
    if (child?.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise<void>(resolve => child.once('exit', resolve))
    const killer = setTimeout(() => child.kill('SIGKILL'), stopWithinMs)
    if (child.connected) child.disconnect()
    await gone
    clearTimeout(killer)
  }

  #launchLater(onReady: () => void, onGivenUp: (error: Error) => void): void {
    const delayMs = jitteredBackoffMs(Math.ceil(this.#failures), { firstMs: 200, mostMs: 5000 })
    this.#timer = setTimeout(() => {
      this.#launch(onReady, onGivenUp)
    }, delayMs)
  }

  #launch(onReady: () => void, onGivenUp: (error: Error) => void): void {
    const child = forkEntry()
    this.#child = child
    this.#attempts++
    const startedAt = performance.now()
    let failure: Failure | undefined
    let cameUp = false
    const hanging = setTimeout(() => {
      failure ??= { code: undefined, message: `it was not ready within ${startWithinMs / 1000} s` }
      child.kill('SIGKILL')
    }, startWithinMs)
    child.on('message', (message: FromLocalWorker) => {
      if (message.type === 'failed') {
        failure = message
        return
      }
      clearTimeout(hanging)
      this.#everReady = true
      cameUp = true
      onReady()
    })
    child.once('error', error => {
      failure ??= { code: undefined, message: error.message }
    })
    child.once('exit', (code, signal) => {
      clearTimeout(hanging)
      if (this.#stopping) return
      failure ??= {
        code: undefined,
        message: signal === null ? `it exited with code ${code}` : `it was ended by ${signal}`,
      }
      if (performance.now() - startedAt > soundMs) this.#failures = 0
      this.#failures += cameUp ? mostFailures / mostEarlyEnds : 1
      // What the module is will not change by itself; and a first start is not to be waited for in vain.
      const final = this.#failures > mostFailures - 1e-9 || (failure.code !== undefined && !this.#everReady)
      if (final) onGivenUp(startError(failure, this.#attempts))
      else this.#launchLater(onReady, this.#everReady ? this.#onGivenUp : onGivenUp)
    })
    child.send({ type: 'start', ...this.#start } satisfies StartLocalWorker, error => {
      if (error !== null) failure ??= { code: undefined, message: error.message }
    })
  }
}

function forkEntry(): ChildProcess {
  const runsFromSource = import.meta.url.endsWith('.ts')
  const entry = fileURLToPath(new URL(runsFromSource ? '../worker/local.ts' : '../worker/local.js', import.meta.url))
  const execArgv = runsFromSource ? ['--import', pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href] : []
  return fork(entry, [], { serialization: 'advanced', execArgv, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
}

function startError({ code, message }: Failure, attempts: number): MillraceError {
  if (code === 'TASK_MODULE') return new TaskModuleError(message)
  const tried = attempts > 1 ? ` after ${attempts} attempts` : ''
  return new WorkerStartError(`The local worker did not start${tried}: ${message}.`)
}
