import type { WorkerInfo } from '../protocol/records.ts'
import { Tail } from '../runtime/tail.ts'
import type { ThreadHandle, ThreadModule } from './thread-handle.ts'

export interface SelfReportOptions {
  readonly hash: string
  readonly hostname: string
  readonly version: string
  readonly launch: string
  /** How many threads the worker has when all are there. */
  readonly threads: number
  /** Those that have not ended. */
  readonly crew: () => readonly ThreadHandle[]
  readonly module: () => ThreadModule
}

/** What a worker tells of itself: who it is when it registers, and how it is with each heartbeat. */
export class SelfReport {
  readonly #options: SelfReportOptions
  readonly #startedAt = Date.now()
  /** Told with each heartbeat, since a process that vanishes tells nothing more. */
  readonly #recentLines = new Tail()

  constructor(options: SelfReportOptions) {
    this.#options = options
  }

  addLine(line: string): void {
    this.#recentLines.add(line)
  }

  info(id: string): WorkerInfo {
    const { hash, hostname, version, threads, launch, module } = this.#options
    const { tasks, reducers } = module()
    const names = tasks.map(({ name }) => name)
    return {
      id,
      host: hostname,
      pid: process.pid,
      threads,
      hash,
      tasks: names,
      reducers,
      startedAt: this.#startedAt,
      version,
      launch,
    }
  }

  stats(): string {
    const threads = this.#options.crew()
    const busy = threads.filter(({ board }) => board.look().slot !== undefined).length
    const settled = threads.reduce((sum, { board }) => sum + board.settled, 0)
    const lines = this.#recentLines.lines
    return JSON.stringify({ busy, settled, rssBytes: process.memoryUsage.rss(), lines })
  }
}
