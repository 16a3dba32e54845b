import { outcomeUnknown, isTransient, refusesWrites } from '../store/reply-error.ts'
import type { LaneStore } from '../store/lane-store.ts'
import { isDamage, mostDamages } from '../store/mend.ts'
import type { Arrival } from './assembler.ts'
import { redisRefused } from './job-errors.ts'
import type { Part } from './part.ts'

/** What a releaser tells the job. */
export interface ReleaserHost {
  readonly part: Part
  readonly store: LaneStore
  /** The part is gone, or somebody else's: find out. */
  reconcile(): void
  /** Redis went back, and what was reduced is there in other stretches. */
  clashed(): void
  /** The job can't go on, and what is left of it is to go. */
  abort(error: unknown): void
}

const mostRuns = 500
const mostBytes = 4 * 1024 * 1024
/** So many tasks at most are used and not released for long: a driver that attaches after a crash is given them again. */
const mostTasks = 32_768
const delayMs = 25
const retryMs = 500
/** No cursor is here, so that a checkpoint from here on is refused. */
const nowhere = -1
/** Encoding the accumulator may take this share of the time: a large one is stored less often. */
const encodingShare = 0.1

/** One call. It is sent again as it is until its reply comes, so that no checkpoint is stored on top of one that may be. */
interface Batch {
  readonly runs: readonly Arrival[]
  readonly cursor: number | undefined
  readonly accumulator: Buffer | undefined
  readonly from: number | undefined
}

/** Deletes from Redis what the consumer has used, in batches, and stores how far it is in the same step. */
export class Releaser {
  readonly #host: ReleaserHost
  #runs: Arrival[] = []
  #bytes = 0
  #tasks = 0
  #cursor: number | undefined
  /** Where the cursor is in Redis; undefined when that is not known. */
  #stored: number | undefined
  #batch: Batch | undefined
  #dirty = false
  #timer: NodeJS.Timeout | undefined
  #flushing: Promise<void> | undefined
  #stopped = false
  #suspended = false
  #notBefore = 0
  #damages = 0
  /** What a reduction has up to the cursor, encoded. May throw for what can't travel. */
  accumulator: (() => Buffer) | undefined

  /** `stored`: how far an earlier driver's consumer was. */
  constructor(host: ReleaserHost, stored: number) {
    this.#host = host
    this.#stored = stored
  }

  /** The consumer is done with everything up to `cursor` (when it goes in order), and with this run. */
  add(run: Arrival | undefined, cursor: number | undefined): void {
    if (this.#suspended) return
    this.#cursor = cursor
    this.#dirty = true
    if (run !== undefined) {
      this.#runs.push(run)
      this.#bytes += run.valueBytes
      this.#tasks += run.count
    }
    const due = this.#runs.length >= mostRuns || this.#bytes >= mostBytes || this.#tasks >= mostTasks
    if (due && performance.now() >= this.#notBefore) this.#flushNow()
    else this.#flushIn(Math.max(delayMs, this.#notBefore - performance.now()))
  }

  /** Redis lost the part: the new one is to be told how far the consumer is. The old runs are gone with it. */
  restate(): void {
    this.#forget()
    this.#stored = 0
    this.#dirty = this.#cursor !== undefined
    if (this.#dirty) this.#flushIn(retryMs)
  }

  /** What was used is not so in Redis any more: nothing is released until `resume`, which begins with nothing. */
  suspend(): void {
    this.#forget()
    this.#suspended = true
    this.#cursor = undefined
    this.#stored = undefined
    this.#dirty = false
  }

  /** `stored`: where the cursor is in Redis, if that is known. */
  resume(stored?: number): void {
    this.#suspended = false
    this.#stored = stored
  }

  /** Resolves when what has been added is released, or has failed for now. */
  async flush(): Promise<void> {
    while (this.#flushing !== undefined) await this.#flushing
    if (this.#stopped || !this.#dirty) return
    this.#flushing = this.#flush()
    await this.#flushing
  }

  #flushNow(): void {
    this.flush().catch((error: unknown) => {
      this.#host.abort(error)
    })
  }

  #isStopped(): boolean {
    return this.#stopped
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  #flushIn(ms: number): void {
    if (this.#stopped) return
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#flushNow()
    }, ms)
  }

  #forget(): void {
    this.#runs = []
    this.#bytes = 0
    this.#tasks = 0
    this.#batch = undefined
  }

  async #flush(): Promise<void> {
    const { part, store } = this.#host
    try {
      const batch = (this.#batch ??= this.#next())
      if (this.#stopped) return
      const word = await store.parts.release(part, batch)
      this.#damages = 0
      if (this.#isStopped() || this.#batch !== batch) return
      if (word === 'clash') this.#host.clashed()
      else if (word === 'released') {
        this.#batch = undefined
        this.#stored = batch.cursor
      } else this.#again(word)
    } catch (error) {
      if (this.#stopped) return
      if (outcomeUnknown(error) || isTransient(error) || refusesWrites(error)) this.#again()
      else if (isDamage(error) && this.#damages++ < mostDamages) this.#again('gone')
      else this.#host.abort(redisRefused(error))
    } finally {
      this.#flushing = undefined
    }
    if (this.#dirty) this.#flushIn(delayMs)
  }

  #next(): Batch {
    const { reducer } = this.#host.part.fields
    const accumulator = this.#encode()
    // A checkpoint of what threads have combined goes with all that it stands for.
    const runs = this.#runs.splice(0, reducer === '' ? mostRuns : Infinity)
    this.#bytes = this.#runs.reduce((bytes, run) => bytes + run.valueBytes, 0)
    this.#tasks = this.#runs.reduce((tasks, run) => tasks + run.count, 0)
    this.#dirty = this.#runs.length > 0
    return { runs, cursor: this.#cursor, accumulator, from: reducer === '' ? undefined : (this.#stored ?? nowhere) }
  }

  #again(word?: 'replaced' | 'gone'): void {
    if (this.#batch === undefined) return
    this.#dirty = true
    this.#flushIn(retryMs)
    if (word !== undefined) this.#host.reconcile()
  }

  #encode(): Buffer | undefined {
    if (this.accumulator === undefined) return undefined
    const before = performance.now()
    let bytes: Buffer
    try {
      bytes = this.accumulator()
    } catch (error) {
      this.#host.abort(error)
      return undefined
    }
    const after = performance.now()
    this.#notBefore = after + (after - before) / encodingShare
    return bytes
  }
}
