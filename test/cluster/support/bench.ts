import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { connect } from '../../../src/index.ts'
import type { ConnectOptions, Mill } from '../../../src/index.ts'
import { laneOfJob } from '../../../src/protocol/placement.ts'
import { tasksFile } from '../../driver/support/bench.ts'
import { spawnNode } from '../../support/process.ts'
import type { NodeProcess } from '../../support/process.ts'

const workerFile = fileURLToPath(new URL('./worker.ts', import.meta.url))
const driverFile = fileURLToPath(new URL('../../driver/support/driver.ts', import.meta.url))

/** Connections and processes on one Redis, which end with it. */
export class Fleet implements AsyncDisposable {
  readonly url: string
  readonly #mills: Mill[] = []
  readonly #processes: NodeProcess[] = []

  constructor(url: string) {
    this.url = url
  }

  async connect(options: ConnectOptions = {}): Promise<Mill> {
    const mill = await connect({ redis: this.url, tasks: tasksFile, threads: 0, connectTimeoutMs: 20_000, ...options })
    this.#mills.unshift(mill)
    return mill
  }

  /** A worker in a process of its own, ready for work. */
  async startWorker(threads: number): Promise<NodeProcess> {
    const worker = this.#spawn(workerFile, this.url, String(threads))
    await worker.waitForLine(/^ready/)
    return worker
  }

  /** See `driver.ts`. */
  startDriver(mode: string, id: string): NodeProcess {
    return this.#spawn(driverFile, this.url, mode, id)
  }

  #spawn(...args: string[]): NodeProcess {
    const child = spawnNode(['--import', 'tsx', ...args])
    this.#processes.push(child)
    return child
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#mills.map(mill => mill.close()))
    for (const child of this.#processes) child.kill()
    await Promise.all(this.#processes.map(child => child.exited))
  }
}

/** An id of a job that goes on that lane. */
export function idOnLane(lane: number, lanes: readonly number[], name = 'job'): string {
  for (let i = 0; ; i++) if (laneOfJob(`${name}-${i}`, lanes) === lane) return `${name}-${i}`
}

/** Inputs for `wait` that come one after the other until they are told that it is enough. */
export class Endless {
  #count = 0
  #enough = false

  async *inputs(): AsyncGenerator<{ ms: number; value: number }> {
    while (!this.#enough) {
      yield { ms: 2, value: this.#count++ }
      await sleep(8)
    }
  }

  /** Ends the inputs. */
  enough(): void {
    this.#enough = true
  }

  /** What the results must be, once the inputs have ended. */
  get expected(): number[] {
    return numbers(this.#count)
  }
}

export const numbers = (count: number) => Array.from({ length: count }, (_, i) => i)
