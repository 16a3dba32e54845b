const mostParts = 256

/** The cancellations that were heard of last, for chunks that wait in this thread: those of whole jobs, and of single tasks. */
export class CancelledTasks {
  readonly #parts = new Map<string, Set<number> | 'all'>()

  add(job: string, incarnation: string, index: number | undefined): void {
    const key = `${job} ${incarnation}`
    const known = this.#parts.get(key)
    this.#parts.delete(key)
    if (index === undefined || known === 'all') this.#parts.set(key, 'all')
    else this.#parts.set(key, (known ?? new Set<number>()).add(index))
    for (const oldest of this.#parts.keys()) {
      if (this.#parts.size <= mostParts) break
      this.#parts.delete(oldest)
    }
  }

  /** Whether the whole job is cancelled. */
  has(job: string, incarnation: string): boolean {
    return this.#parts.size > 0 && this.#parts.get(`${job} ${incarnation}`) === 'all'
  }

  /** The cancelled tasks of a job that goes on; the set grows with later cancellations. */
  indexes(job: string, incarnation: string): ReadonlySet<number> | undefined {
    if (this.#parts.size === 0) return undefined
    const known = this.#parts.get(`${job} ${incarnation}`)
    return known === 'all' ? undefined : known
  }
}
