import type { Lanes } from '../store/lanes.ts'

/** Values are kept while recent jobs use them, in one copy for all threads, up to this size in all. */
const mostBytes = 512 * 1024 * 1024
const mostValues = 8

/** The encoded shared values of jobs, read once per process and handed to threads in shared memory. */
export class SharedValues {
  readonly #lanes: Lanes
  readonly #values = new Map<string, Promise<SharedArrayBuffer | undefined>>()
  readonly #sizes = new Map<string, number>()

  constructor(lanes: Lanes) {
    this.#lanes = lanes
  }

  /** The job's value, or undefined when Redis does not have it. */
  get(job: string, incarnation: string, lane: number): Promise<SharedArrayBuffer | undefined> {
    const key = `${job} ${incarnation}`
    const value = this.#values.get(key) ?? this.#read(key, job, lane)
    this.#values.delete(key)
    this.#values.set(key, value)
    return value
  }

  async #read(key: string, job: string, lane: number): Promise<SharedArrayBuffer | undefined> {
    try {
      const bytes = await this.#lanes.of(lane).parts.readShared(job)
      if (bytes === null) {
        this.#values.delete(key)
        return undefined
      }
      const shared = new SharedArrayBuffer(bytes.length)
      bytes.copy(new Uint8Array(shared))
      this.#sizes.set(key, bytes.length)
      this.#evict(key)
      return shared
    } catch (error) {
      this.#values.delete(key)
      throw error
    }
  }

  #evict(newest: string): void {
    let bytes = [...this.#sizes.values()].reduce((sum, size) => sum + size, 0)
    for (const key of [...this.#values.keys()]) {
      if ((bytes <= mostBytes && this.#values.size <= mostValues) || key === newest) continue
      bytes -= this.#sizes.get(key) ?? 0
      this.#values.delete(key)
      this.#sizes.delete(key)
    }
  }
}
