import { parseHeader } from '../protocol/chunk.ts'
import type { Log } from '../runtime/log.ts'
import { Loop } from '../runtime/loop.ts'
import type { Service } from '../runtime/service.ts'
import type { PartName } from '../store/lane-access.ts'
import type { LaneStore } from '../store/lane-store.ts'
import type { Board } from './board.ts'
import type { ThreadHandle } from './thread-handle.ts'

export interface MissedCancellationsOptions {
  readonly store: LaneStore
  readonly threads: () => readonly BusyThread[]
  /** What runs of this part is to stop: nobody would take its results. */
  readonly onCancelled: (part: PartName) => void
  readonly log: Log
}

type BusyThread = Pick<ThreadHandle, 'board' | 'claims'>

/** What ends within this time needs no cancellation. */
const lookEveryMs = 5000

/**
 * Finds the jobs of a lane that were cancelled without this worker hearing of it: the message goes to whoever is
 * connected in that moment. Only threads that are busy with the same as at the last look are asked about, so a fleet
 * with tasks shorter than that asks nothing. What they hold and whether its job is there is read from one server, so
 * that neither an older state of Redis nor a former master makes a job look cancelled that lives.
 */
export class MissedCancellations implements Service {
  readonly #options: MissedCancellationsOptions
  readonly #loop: Loop
  readonly #seen = new WeakMap<BusyThread, ReadonlySet<string>>()

  constructor(options: MissedCancellationsOptions) {
    this.#options = options
    this.#loop = new Loop(() => this.#look(), {
      intervalMs: lookEveryMs,
      onError: error => {
        options.log.warn(`looking for cancelled jobs failed and is tried again: ${(error as Error).message}`)
      },
    })
  }

  start(): void {
    this.#loop.start()
  }

  stop(): Promise<void> {
    return this.#loop.stop()
  }

  /** Messages may have been missed: the next look is now. */
  lookNow(): void {
    this.#loop.nudge()
  }

  async #look(): Promise<void> {
    const { store, onCancelled } = this.#options
    const lines = await Promise.all(this.#lastingClaims().map(claim => store.claims.peekClaim(claim)))
    const headers = lines.flat().flatMap(line => parseHeader(line) ?? [])
    const parts = new Map(headers.map(({ job, incarnation }) => [`${job} ${incarnation}`, { job, incarnation }]))
    const looks = [...parts.values()].map(async part => {
      const counters = await store.parts.readCounters(part.job)
      if (counters?.incarnation !== part.incarnation || counters.state === 'cancelled') onCancelled(part)
    })
    await Promise.all(looks)
  }

  /** The claims on this lane of threads that are busy with something that they were busy with at the last look. */
  #lastingClaims(): readonly string[] {
    const { lane } = this.#options.store.lane
    return this.#options.threads().flatMap(thread => {
      const before = this.#seen.get(thread)
      const now = busyWith(thread.board)
      this.#seen.set(thread, now)
      if (before === undefined || ![...now].some(each => before.has(each))) return []
      return [...thread.claims].flatMap(([claim, on]) => (on === lane ? [claim] : []))
    })
  }
}

/** The batch that a thread runs, and each asynchronous task in progress. */
function busyWith(board: Board): ReadonlySet<string> {
  const { slot, batch } = board.look()
  const pending = board.pending().map(({ partHash, index }) => `task ${partHash} ${index}`)
  return new Set(slot === undefined ? pending : [...pending, `batch ${batch}`])
}
