import type { PartCounters } from '../protocol/records.ts'
import { locateTasks } from '../store/inspect/locate.ts'
import type { LaneStore } from '../store/lane-store.ts'
import type { Assembler } from './assembler.ts'
import { Coverage } from './coverage.ts'
import type { Stretch } from './coverage.ts'
import type { Part } from './part.ts'

/** What the search asks the job. */
export interface SearchedJob {
  readonly store: LaneStore
  readonly assembler: Assembler
  /** `released`: tasks whose results a former driver has used, out of order, so that nobody knows which they are. */
  readonly collector: { readonly released: number }
}

/** A job that has heard nothing for so long is searched; then twice as long, while nothing is found missing. */
const firstAfterMs = 5000
const longestAfterMs = 60_000
const confirmAfterMs = 1000

/**
 * Finds tasks that are nowhere: neither settled, nor waiting, nor with a thread. Redis loses none by itself, as long as it
 * loses the end of its history and not the middle of it; but somebody may delete or overwrite a key. Reading all the places
 * takes several calls, in which tasks move, so a task only counts as lost when it is missing twice while nothing moved.
 */
export class LostTasks {
  readonly #job: SearchedJob
  #afterMs = firstAfterMs
  #running = false
  /** There is a reason to believe that something is missing. */
  doubted = false

  constructor(job: SearchedJob) {
    this.#job = job
  }

  /** How long the job must have been quiet before it is worth a search. */
  get afterMs(): number {
    return this.doubted ? 0 : this.#afterMs
  }

  /** The job goes on. */
  calm(): void {
    this.#afterMs = firstAfterMs
  }

  /** The lost tasks, as far as it is certain; none while something moves, or a search is under way. */
  async run(part: Part): Promise<readonly Stretch[]> {
    if (this.#running) return []
    this.#running = true
    try {
      const first = await this.#look(part)
      if (first === undefined) return []
      if (first.missing.length === 0) {
        this.#afterMs = Math.min(longestAfterMs, this.#afterMs * 2)
        this.doubted = false
        return []
      }
      await new Promise(resolve => setTimeout(resolve, confirmAfterMs))
      const second = await this.#look(part)
      return second?.stand === first.stand ? inBoth(first.missing, second.missing) : []
    } finally {
      this.#running = false
    }
  }

  async #look(part: Part): Promise<{ readonly stand: string; readonly missing: readonly Stretch[] } | undefined> {
    const { store, assembler, collector } = this.#job
    const before = await store.parts.readCounters(part.job)
    if (before?.incarnation !== part.incarnation || before.state !== 'open') return undefined
    const located = await locateTasks(store, part)
    if (located === undefined) return undefined
    const found = new Coverage()
    for (const [from, to] of located) found.add(from, to)
    let cursor = '0'
    do {
      const page = await store.parts.scanResults(part.job, cursor)
      for (const { first, count } of page.runs) if (count <= before.submitted) found.add(first, first + count)
      cursor = page.cursor
    } while (cursor !== '0')
    const after = await store.parts.readCounters(part.job)
    if (after === undefined || standOf(after) !== standOf(before)) return undefined
    // What has arrived is settled, whether it is still there or released.
    const missing = assembler.coverage.gaps(0, before.submitted).flatMap(([from, to]) => found.gaps(from, to))
    const tasks = missing.reduce((sum, [from, to]) => sum + to - from, 0)
    return { stand: standOf(before), missing: tasks > collector.released ? missing : [] }
  }
}

/** Changes whenever a task moves but for from the List to a thread, or back. */
function standOf({ incarnation, submitted, waiting, delayed, settled }: PartCounters): string {
  return [incarnation, submitted, waiting, delayed, settled].join(' ')
}

function inBoth(some: readonly Stretch[], others: readonly Stretch[]): Stretch[] {
  const coverage = new Coverage()
  for (const [from, to] of others) coverage.add(from, to)
  return some.flatMap(([from, to]) => {
    const outside = coverage.gaps(from, to)
    const inside: Stretch[] = []
    let at = from
    for (const [start, end] of [...outside, [to, to] as const]) {
      if (start > at) inside.push([at, start])
      at = end
    }
    return inside
  })
}
