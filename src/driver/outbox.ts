import type { Coverage } from './coverage.ts'

/** Consecutive inputs, encoded. */
interface Parcel {
  readonly first: number
  readonly count: number
  /** These indexes never had a task. */
  readonly taskless: boolean
  /** Undefined once all of its tasks are collected, or where there are none. */
  payload: Buffer | undefined
}

/** A stretch of a parcel that becomes one chunk. `base` is the index of the payload's first input. */
export interface ChunkWindow {
  readonly first: number
  readonly count: number
  readonly base: number
  readonly payload: Buffer
}

/**
 * What one call submits: the tasks from `from` to `to`, `skipped` of which have no chunk: they are collected already, or, so
 * many as `taskless` says, never were tasks.
 */
export interface Batch {
  readonly from: number
  readonly to: number
  readonly windows: readonly ChunkWindow[]
  readonly skipped: number
  readonly taskless: number
}

/** Packed and not yet sent: enough for the calls under way and the next. A single parcel may hold more. */
const mostUnsent = { parcels: 64, bytes: 16 * 1024 * 1024 }

/**
 * The encoded inputs of a job from packing until their results are collected, so that they can be submitted again if
 * Redis comes back without them. `next` gives what is to be sent, in order; `rewind` goes back.
 */
export class Outbox {
  #parcels: Parcel[] = []
  /** Position of the parcel that is to be sent next. */
  #next = 0
  #cursor: number
  #end: number
  #kept: number
  #bytes = 0

  /** `first`: the index of the first input; those before it are another driver's, and not here. */
  constructor(first = 0) {
    this.#cursor = first
    this.#end = first
    this.#kept = first
  }

  /** The index that the next input gets. */
  get end(): number {
    return this.#end
  }

  /** Up to here everything has been given by `next`. */
  get cursor(): number {
    return this.#cursor
  }

  /** The payloads that are kept, in bytes. */
  get bytes(): number {
    return this.#bytes
  }

  /** From here on everything that is not collected can be submitted again. */
  get keptFrom(): number {
    return this.#kept
  }

  /** Whether no more is to be packed for now: so much waits to be sent. */
  get full(): boolean {
    if (this.#parcels.length - this.#next >= mostUnsent.parcels) return true
    let bytes = 0
    for (let at = this.#next; at < this.#parcels.length; at++) bytes += this.#parcels[at]!.payload?.length ?? 0
    return bytes >= mostUnsent.bytes
  }

  /** Without a payload: there are no tasks, and nothing is to be sent for these indexes. */
  push(count: number, payload: Buffer | undefined): void {
    this.#parcels.push({ first: this.#end, count, taskless: payload === undefined, payload })
    this.#end += count
    this.#bytes += payload?.length ?? 0
  }

  /** The next batch, or undefined when all is sent. A single parcel may exceed `mostBytes`. */
  next(coverage: Pick<Coverage, 'gaps'>, most: { readonly chunks: number; readonly bytes: number }): Batch | undefined {
    if (this.#cursor >= this.#end) return undefined
    const from = this.#cursor
    const windows: ChunkWindow[] = []
    let bytes = 0
    let tasks = 0
    let without = 0
    while (this.#next < this.#parcels.length && windows.length < most.chunks) {
      const { first, count, taskless, payload } = this.#parcels[this.#next]!
      // After Redis came back with less, the cursor may stand inside a parcel.
      const begin = Math.max(first, from)
      const size = payload?.length ?? 0
      if (windows.length > 0 && bytes + size > most.bytes) break
      this.#next++
      this.#cursor = first + count
      if (taskless) without += this.#cursor - begin
      if (payload === undefined) continue
      for (const [start, end] of coverage.gaps(begin, first + count)) {
        windows.push({ first: start, count: end - start, base: first, payload })
        bytes += size
        tasks += end - start
      }
    }
    if (this.#next === this.#parcels.length) this.#cursor = this.#end
    return { from, to: this.#cursor, windows, skipped: this.#cursor - from - tasks, taskless: without }
  }

  /** Everything from `cursor` on is to be sent again. */
  rewind(cursor: number): void {
    this.#cursor = cursor
    this.#next = this.#position(cursor)
  }

  /** Lets go of payloads between `from` and `to` whose tasks are all collected. */
  collected(from: number, to: number, coverage: Pick<Coverage, 'covers'>): void {
    for (let at = this.#position(from); at < this.#parcels.length; at++) {
      const parcel = this.#parcels[at]!
      if (parcel.first >= to) break
      if (parcel.payload !== undefined && coverage.covers(parcel.first, parcel.first + parcel.count))
        this.#letGo(parcel)
    }
    this.#trim()
  }

  /**
   * Lets go of the oldest payloads, until at most `mostBytes` are kept. Not of those from index `acknowledged` on: what is
   * under way may be refused, and is sent again then.
   */
  forgetOldest(mostBytes: number, acknowledged: number): void {
    for (let at = 0; at < this.#next && this.#bytes > mostBytes; at++) {
      const parcel = this.#parcels[at]!
      if (parcel.first + parcel.count > acknowledged) break
      if (parcel.payload === undefined) continue
      this.#letGo(parcel)
      this.#kept = parcel.first + parcel.count
    }
    this.#trim()
  }

  #letGo(parcel: Parcel): void {
    this.#bytes -= parcel.payload?.length ?? 0
    parcel.payload = undefined
  }

  /** Drops empty parcels at the front, in bulk, so that the cost per parcel stays constant. */
  #trim(): void {
    let empty = 0
    while (empty < this.#next && this.#parcels[empty]!.payload === undefined) empty++
    if (empty < 64 && empty < this.#parcels.length) return
    this.#parcels = this.#parcels.slice(empty)
    this.#next -= empty
  }

  /** Position of the first parcel that ends after `index`. */
  #position(index: number): number {
    let low = 0
    let high = this.#parcels.length
    while (low < high) {
      const middle = (low + high) >> 1
      const parcel = this.#parcels[middle]!
      if (parcel.first + parcel.count > index) high = middle
      else low = middle + 1
    }
    return low
  }
}
