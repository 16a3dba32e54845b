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
/** Encoding the accumulator may take this share of the time: a large one is stored less often. */
const encodingShare = 0.1

/** Deletes from Redis what the consumer has used, in batches, and stores how far it is in the same step. */
export class Releaser {
  readonly #host: ReleaserHost
  #runs: Arrival[] = []
  #bytes = 0
  #tasks = 0
  #cursor: number | undefined
  #dirty = false
  #timer: NodeJS.Timeout | undefined
  #flushing: Promise<void> | undefined
  #stopped = false
  #suspended = false
  #notBefore = 0
  #damages = 0
  /** What a reduction has up to the cursor, encoded. May throw for what can't travel. */
  accumulator: (() => Buffer) | undefined

  constructor(host: ReleaserHost) {
    this.#host = host
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

  /** Redis lost the part: it is to be told again how far the consumer is. The old runs are gone with it. */
  restate(): void {
    this.#runs = []
    this.#bytes = 0
    this.#tasks = 0
    this.#dirty = this.#cursor !== undefined
    if (this.#dirty) this.#flushIn(retryMs)
  }

  /** What was used is not so in Redis any more: nothing is released until `resume`, which begins with nothing. */
  suspend(): void {
    this.#suspended = true
    this.#cursor = undefined
    this.restate()
  }

  resume(): void {
    this.#suspended = false
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

  async #flush(): Promise<void> {
    const { part, store } = this.#host
    const runs = this.#runs.splice(0, mostRuns)
    this.#bytes = this.#runs.reduce((bytes, run) => bytes + run.valueBytes, 0)
    this.#tasks = this.#runs.reduce((tasks, run) => tasks + run.count, 0)
    this.#dirty = this.#runs.length > 0
    try {
      const accumulator = this.#encode()
      if (this.#stopped) return
      const word = await store.parts.release(part, { runs, cursor: this.#cursor, accumulator })
      this.#damages = 0
      if (this.#isStopped()) return
      if (word === 'clash') this.#host.clashed()
      else if (word !== 'released') this.#again([], word)
    } catch (error) {
      if (this.#stopped) return
      if (outcomeUnknown(error) || isTransient(error) || refusesWrites(error)) this.#again(runs)
      else if (isDamage(error) && this.#damages++ < mostDamages) this.#again(runs, 'gone')
      else this.#host.abort(redisRefused(error))
    } finally {
      this.#flushing = undefined
    }
    if (this.#dirty) this.#flushIn(delayMs)
  }

  #again(runs: readonly Arrival[], word?: 'replaced' | 'gone'): void {
    if (this.#suspended) return
    this.#runs.unshift(...runs)
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
