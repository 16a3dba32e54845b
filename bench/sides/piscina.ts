import { compileForThreads } from './compile.ts'

/** What is used of Piscina. It is installed with the benchmark only, so that its own types may be missing. */
interface Pool {
  run(task: unknown, options: { readonly name: string }): Promise<unknown>
  destroy(): Promise<void>
}
type PiscinaModule = Readonly<Record<'Piscina', new (options: Readonly<Record<string, unknown>>) => Pool>>

const packageName = 'piscina'

/**
 * Its README's way to many small tasks: a fixed pool, `concurrentTasksPerWorker` above 1 so that a thread always has a
 * next one, and `atomics: 'sync'` (its default), with which threads take messages without going through the event loop.
 */
export const piscinaHow = (threads: number) =>
  `pool.run() for every input at once, all awaited together; ${threads} threads, concurrentTasksPerWorker 64, in this process: no Redis, nothing survives`

export class PiscinaPool {
  readonly #pool: Pool

  constructor(pool: Pool) {
    this.#pool = pool
  }

  static async open(threads: number): Promise<PiscinaPool> {
    const { Piscina } = (await import(packageName)) as PiscinaModule
    const file = await compileForThreads(new URL('./piscina-thread.ts', import.meta.url))
    return new PiscinaPool(
      new Piscina({
        filename: file.href,
        minThreads: threads,
        maxThreads: threads,
        concurrentTasksPerWorker: 64,
        recordTiming: false,
      }),
    )
  }

  map(name: 'noop' | 'work', inputs: readonly number[]): Promise<unknown[]> {
    return Promise.all(inputs.map(input => this.#pool.run(input, { name })))
  }

  close(): Promise<void> {
    return this.#pool.destroy()
  }
}
