import { spawnNode } from '../test/support/process.ts'
import type { NodeProcess } from '../test/support/process.ts'
import { compile } from './compile.ts'
import type { History } from './history.ts'
import type { WorkerSettings } from './processes/settings.ts'

const workerScript = new URL('./processes/worker.ts', import.meta.url)

/** More than a worker needs to finish what it runs, and to say goodbye. */
const drainMs = 30_000

export interface Worker {
  readonly pid: number
  readonly process: NodeProcess
  ready: boolean
  frozen: boolean
  /** The harness ended it. */
  killed: boolean
}

/** The workers of a run: as many as there are to be, whoever of them dies. */
export class Fleet {
  readonly #settings: WorkerSettings
  readonly #size: number
  readonly #history: History
  readonly #sparesOldest: boolean
  readonly #workers = new Set<Worker>()
  /** Of all workers that there were. */
  readonly #pids = new Set<number>()
  #script = ''
  #stopping = false
  /** Ends of workers that nobody asked for, in words. */
  readonly surprises: string[] = []
  /** How many ended by a signal that the harness did not send: poison does that. */
  killedByTask = 0

  constructor(
    settings: WorkerSettings,
    { size, sparesOldest }: { readonly size: number; readonly sparesOldest: boolean },
    history: History,
  ) {
    this.#settings = settings
    this.#size = size
    this.#sparesOldest = sparesOldest
    this.#history = history
  }

  /** Those that are up and can be harmed. */
  get able(): readonly Worker[] {
    const [, ...younger] = this.#workers
    const harmed = this.#sparesOldest ? younger : [...this.#workers]
    return harmed.filter(({ ready, frozen, killed }) => ready && !frozen && !killed)
  }

  get oldest(): number | undefined {
    return [...this.#workers][0]?.pid
  }

  /** Resolves when all are ready. */
  async start(): Promise<void> {
    this.#script = await compile(workerScript, this.#settings.history)
    await Promise.all(Array.from({ length: this.#size }, () => this.#spawn()))
  }

  kill(worker: Worker): void {
    worker.killed = true
    // Before the kill: an event of the worker's after this one was written by a process that was alive.
    this.#history.write({ type: 'killed', what: 'worker', pid: `${worker.pid}` })
    worker.process.kill('SIGKILL')
  }

  /** All drain; resolves when they are gone. */
  async stop(): Promise<void> {
    this.#stopping = true
    await Promise.all([...this.#workers].map(worker => this.#drain(worker)))
  }

  async #drain(worker: Worker): Promise<void> {
    // One that has just been started would die of the signal.
    if (!worker.ready) await worker.process.waitForLine(/^ready /, drainMs).catch(() => undefined)
    worker.process.kill('SIGTERM')
    const late = new Promise<undefined>(resolve => {
      setTimeout(() => {
        resolve(undefined)
      }, drainMs).unref()
    })
    const exit = await Promise.race([worker.process.exited, late])
    if (exit === undefined) this.#surprise(worker, `had not drained after ${drainMs / 1000} s`)
    else if (exit.code !== 0) this.#surprise(worker, `ended with ${String(exit.code ?? exit.signal)} when it drained`)
  }

  /** For a run that is given up. */
  killAll(): void {
    this.#stopping = true
    for (const { process } of this.#workers) process.kill('SIGKILL')
  }

  async #spawn(): Promise<void> {
    const child = spawnNode([this.#script, JSON.stringify(this.#settings)], {
      env: { MILLRACE_CHAOS_HISTORY: this.#settings.history },
    })
    // In hours of kills the system gives out numbers again, and a history is told from others by the number.
    if (this.#pids.has(child.pid)) {
      child.kill('SIGKILL')
      return this.#spawn()
    }
    this.#pids.add(child.pid)
    const worker: Worker = { pid: child.pid, process: child, ready: false, frozen: false, killed: false }
    this.#workers.add(worker)
    const ended = child.exited.then(({ code, signal }) => {
      this.#workers.delete(worker)
      if (this.#stopping) return
      if (signal !== null && !worker.killed) this.killedByTask++
      // Redis may be away for longer than a worker that starts waits for it.
      if (signal === null && worker.ready && !gaveUpThread(worker))
        this.#surprise(worker, `ended with code ${String(code)}`)
      this.#spawn().catch(() => undefined)
    })
    await Promise.race([child.waitForLine(/^ready /, 60_000).then(() => (worker.ready = true)), ended])
  }

  #surprise(worker: Worker, what: string): void {
    this.surprises.push(
      `worker ${worker.pid} ${what}: ${worker.process.stdout.slice(-5).join(' | ')} ${worker.process.stderr.slice(-5).join(' | ')}`,
    )
  }
}

/** On a busy machine a thread that loops may take longer to end than a worker waits: then it gives up its process, as documented. */
function gaveUpThread({ process }: Worker): boolean {
  return process.stdout.some(line => line.includes('runs native code that can not be stopped'))
}
