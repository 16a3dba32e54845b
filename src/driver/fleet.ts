import type { LaneStore } from '../store/lane-store.ts'
import { readWorkers } from '../store/inspect/workers.ts'
import type { WorkerView } from './types.ts'

/** What is known may be so old when nobody joined or left. */
const freshMs = 5000
const pollMs = 2000

/** The live workers, as far as known: read when asked for, and again when one joins or leaves. */
export class Fleet {
  readonly #store: LaneStore
  #workers: WorkerView[] | undefined
  #readAt = 0
  #reading: Promise<WorkerView[]> | undefined
  #waiting = new Set<() => void>()
  /** Code hashes by task name, as decided since the fleet last changed. */
  readonly matched = new Map<string, string>()

  constructor(store: LaneStore) {
    this.#store = store
  }

  /** What is known, if it is fresh. */
  get known(): readonly WorkerView[] | undefined {
    return performance.now() - this.#readAt < freshMs ? this.#workers : undefined
  }

  read(): Promise<WorkerView[]> {
    this.#reading ??= readWorkers(this.#store)
      .then(workers => {
        this.#workers = workers
        this.#readAt = performance.now()
        return workers
      })
      .finally(() => {
        this.#reading = undefined
      })
    return this.#reading
  }

  /** A worker joined or left, or may have. */
  changed(): void {
    this.#workers = undefined
    this.matched.clear()
    for (const wake of [...this.#waiting]) wake()
  }

  /** Resolves when a worker joins or leaves, or in a while: the message may be missed. */
  change(): Promise<void> {
    return new Promise(resolve => {
      const done = () => {
        clearTimeout(timer)
        this.#waiting.delete(done)
        resolve()
      }
      const timer = setTimeout(done, pollMs * (1 + Math.random() / 4))
      this.#waiting.add(done)
    })
  }
}
