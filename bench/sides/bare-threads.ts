import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { compileForThreads } from './compile.ts'
import type { BareAnswer, BareOrder } from './bare-thread.ts'

export const bareHow =
  'the same loop over the same inputs in two bare worker threads, each with its fixed share, which it has before the clock starts'

export interface BareRun {
  /** From the start signal until the last thread is done. */
  readonly seconds: number
  /** What each thread took for itself. */
  readonly busySeconds: readonly number[]
  /** In the order of the shares. */
  readonly results: readonly Int32Array[]
}

/** Threads that do nothing but the work: what the cores can do. */
export class BareThreads {
  readonly #threads: readonly Worker[]

  constructor(threads: readonly Worker[]) {
    this.#threads = threads
  }

  static async open(count: number): Promise<BareThreads> {
    const file = await compileForThreads(new URL('./bare-thread.ts', import.meta.url))
    const threads = Array.from({ length: count }, () => new Worker(file))
    await Promise.all(threads.map(thread => once(thread, 'online')))
    return new BareThreads(threads)
  }

  /** One share of inputs for each thread. */
  async run(shares: readonly Float64Array[]): Promise<BareRun> {
    await this.#ask(shares.map(inputs => ({ type: 'load', inputs })))
    const started = performance.now()
    const answers = await this.#ask(shares.map(() => ({ type: 'run' })))
    const seconds = (performance.now() - started) / 1000
    return {
      seconds,
      busySeconds: answers.map(answer => answer.seconds),
      results: answers.map(answer => answer.results),
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#threads.map(thread => thread.terminate()))
  }

  #ask(orders: readonly BareOrder[]): Promise<BareAnswer[]> {
    return Promise.all(
      orders.map(async (order, at) => {
        const thread = this.#threads[at]
        if (thread === undefined) throw new RangeError('There are more shares than threads.')
        thread.postMessage(order)
        const [answer] = (await once(thread, 'message')) as [BareAnswer]
        return answer
      }),
    )
  }
}

/** Cuts inputs into one run of consecutive ones for each thread. */
export function evenShares(inputs: Float64Array, threads: number): Float64Array[] {
  const size = Math.ceil(inputs.length / threads)
  return Array.from({ length: threads }, (_, at) => inputs.slice(at * size, (at + 1) * size))
}
