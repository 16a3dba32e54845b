import type { LaneStore } from '../store/lane-store.ts'
import type { Part } from './part.ts'

/** A part that has ended, and where it is. */
interface Ended {
  readonly store: LaneStore
  readonly part: Pick<Part, 'job' | 'incarnation' | 'collector' | 'hash' | 'attaches'>
}

const delayMs = 5
/** When a drop failed: Redis may be away, or refuse. */
const againMs = 500
/** More that can't be dropped are left to expire. */
const mostDue = 10_000
/** So many are remembered in case Redis comes back with them. */
const mostDropped = 1000

/** What the dropper asks the connection. */
export interface DropperHost {
  /** Whether the driver has a job of that id, begun since: it sees to that itself. */
  drives(job: string): boolean
  /** Makes this driver the job's collector again. */
  attach(ended: Ended): Promise<unknown>
  readonly onError: (error: unknown) => void
}

/**
 * Takes ended jobs out of Redis, many at a time: again when that failed, and again when Redis may have gone back to before
 * it was done. What it can't take out expires.
 */
export class Dropper {
  readonly #host: DropperHost
  #due: Ended[] = []
  #dropped: Ended[] = []
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(host: DropperHost) {
    this.#host = host
  }

  dropSoon(store: LaneStore, part: Part): void {
    this.#due.push({ store, part: nameOf(part) })
    this.#dropIn(delayMs)
  }

  /** The job has dropped it itself. */
  remember(store: LaneStore, part: Part): void {
    this.#remember([{ store, part: nameOf(part) }])
  }

  /** Redis is back after a while: whatever was dropped last may be there again. */
  dropAgain(): void {
    this.#due.push(...this.#dropped.splice(0).filter(({ part }) => !this.#host.drives(part.job)))
    if (this.#due.length > 0) this.#dropIn(delayMs)
  }

  /** Nothing more is dropped, but by `flush`. */
  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  /** Drops what is due now, if that can be done. */
  flush(): Promise<void> {
    return this.#dropNow()
  }

  #dropIn(ms: number): void {
    if (this.#stopped) return
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#dropNow().catch(this.#host.onError)
    }, ms)
  }

  async #dropNow(): Promise<void> {
    const due = this.#due.splice(0)
    const outcomes = await Promise.allSettled(due.map(ended => this.#drop(ended)))
    this.#remember(due.filter((_, index) => outcomes[index]?.status === 'fulfilled'))
    this.#due.push(...due.filter((_, index) => outcomes[index]?.status === 'rejected').slice(0, mostDue))
    if (this.#due.length > 0) this.#dropIn(againMs)
  }

  async #drop(ended: Ended): Promise<void> {
    const { parts } = ended.store
    if ((await parts.drop(ended.part)) !== 'replaced') return
    const stand = await parts.readCounters(ended.part.job)
    const isFormer = stand?.incarnation === ended.part.incarnation && stand.attaches < ended.part.attaches
    if (!isFormer) return
    // Redis went back to before this driver attached, and nobody has come since.
    await this.#host.attach(ended)
    await parts.drop(ended.part)
  }

  #remember(dropped: readonly Ended[]): void {
    this.#dropped = [...this.#dropped, ...dropped].slice(-mostDropped)
  }
}

/** Without its payloads. */
function nameOf({ job, incarnation, collector, hash, attaches }: Part): Ended['part'] {
  return { job, incarnation, collector, hash, attaches }
}
