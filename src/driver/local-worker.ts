import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { TaskModuleError, WorkerStartError } from '../errors.ts'
import type { MillraceError } from '../errors.ts'
import { processEnd } from '../protocol/evidence.ts'
import type { ProcessEnd } from '../protocol/evidence.ts'
import type { FromLocalWorker, StartLocalWorker } from '../protocol/local-worker.ts'
import { randomName } from '../protocol/names.ts'
import { Restarts } from '../runtime/restarts.ts'
import { Tail } from '../runtime/tail.ts'

/** A worker that says nothing for so long after its start hangs. Compiling and loading a large module takes seconds. */
const startWithinMs = 60_000
/** How long its drain may take: its own limit is a little less. */
const stopWithinMs = 27_000

/** How a worker process ended before it was ready. */
interface Failure {
  readonly code: string | undefined
  readonly message: string
}

type WhatToRun = Omit<StartLocalWorker, 'type' | 'launch'>

export interface LocalWorkerEvents {
  /** It had come up before, and now can't be started any more. */
  readonly onGivenUp: (error: Error) => void
  /** A run of it has ended, and nobody had told it to. */
  readonly onEnd: (launch: string, end: ProcessEnd) => void
}

/**
 * A worker in a process of its own, so that a busy driver never starves it. It is started again when it dies while the
 * connection is open; its threads' work comes back by itself, like that of any dead worker.
 */
export class LocalWorker {
  readonly #start: WhatToRun
  readonly #events: LocalWorkerEvents
  readonly #restarts = new Restarts()
  #child: ChildProcess | undefined
  #stopping = false
  #attempts = 0
  #timer: NodeJS.Timeout | undefined
  #everReady = false

  constructor(start: WhatToRun, events: LocalWorkerEvents) {
    this.#start = start
    this.#events = events
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
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise<void>(resolve => child.once('exit', resolve))
    const killer = setTimeout(() => child.kill('SIGKILL'), stopWithinMs)
    if (child.connected) child.disconnect()
    await gone
    clearTimeout(killer)
  }

  #launch(onReady: () => void, onGivenUp: (error: Error) => void): void {
    const child = forkEntry()
    this.#child = child
    this.#attempts++
    const startedAt = performance.now()
    const launch = randomName()
    const tail = new Tail()
    let failure: Failure | undefined
    let cameUp = false
    const hanging = setTimeout(() => {
      failure ??= { code: undefined, message: `it was not ready within ${startWithinMs / 1000} s` }
      child.kill('SIGKILL')
    }, startWithinMs)
    child.on('message', (message: FromLocalWorker) => {
      if (message.type === 'log') {
        tail.add(message.line)
        return
      }
      if (message.type === 'failed') {
        failure = message
        return
      }
      clearTimeout(hanging)
      this.#everReady = true
      cameUp = true
      onReady()
    })
    const onExit = (code: number | null, signal: NodeJS.Signals | null) => {
      clearTimeout(hanging)
      if (this.#stopping) return
      failure ??= { code: undefined, message: `it ${processEnd(code, signal, []).how}` }
      if (cameUp) whenDisconnected(child, () => this.#events.onEnd(launch, processEnd(code, signal, tail.lines)))
      const againMs = this.#restarts.afterEnd({ cameUp, upMs: performance.now() - startedAt })
      // What the module is will not change by itself; and a first start is not to be waited for in vain.
      const final = againMs === undefined || (failure.code !== undefined && !this.#everReady)
      if (final) onGivenUp(startError(failure, this.#attempts))
      else {
        const { onGivenUp: onLost } = this.#events
        this.#timer = setTimeout(() => {
          this.#launch(onReady, this.#everReady ? onLost : onGivenUp)
        }, againMs)
      }
    }
    child.once('exit', onExit)
    child.once('error', error => {
      failure ??= { code: undefined, message: error.message }
      // What was never a process (there are too many) does not exit.
      if (child.pid === undefined) onExit(null, null)
    })
    if (child.pid === undefined) return
    child.send({ type: 'start', ...this.#start, launch } satisfies StartLocalWorker, error => {
      if (error !== null) failure ??= { code: undefined, message: error.message }
    })
  }
}

/** Then nothing that it has said is on its way any more. */
function whenDisconnected(child: ChildProcess, then: () => void): void {
  if (child.connected) child.once('disconnect', then)
  else then()
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
