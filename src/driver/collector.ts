import { MalformedDataError } from '../errors.ts'
import { decodeRun } from '../protocol/run.ts'
import type { ResultsMessage } from '../protocol/run.ts'
import type { LaneStore } from '../store/lane-store.ts'
import type { Arrival, Assembler, Piece } from './assembler.ts'
import type { Part } from './part.ts'

/** What a collector tells the job. */
export interface CollectorHost {
  readonly part: Part
  readonly store: LaneStore
  readonly assembler: Assembler
  /** How many tasks the job has so far: there are no results of others. */
  readonly tasks: number
  /** Whether results that come along in messages are kept in memory, or read when the consumer wants them. */
  keepsResults(): boolean
  /** Results of these tasks arrived, with or without their bytes. */
  arrived(run: Arrival): void
  /** Redis does not have what it said it had. */
  lost(): void
  /** A reduced run arrived that goes beyond what is here of its tasks, and can't be divided. */
  clashed(run: Arrival): void
}

/** How long a message may be overtaken by another's news before the Hash is read. */
const patienceMs = 20
/** The results held in memory; beyond this they stay in Redis until they are wanted. */
const mostHeldBytes = 64 * 1024 * 1024
/** How much is read ahead from the Hash at once. */
const readAhead = { bytes: 4 * 1024 * 1024, runs: 128 }

/**
 * Gets a part's results: from messages, which carry most of them, and from the results Hash, for those that were too
 * large to be sent along or whose message was missed. A part's `settled` count says how many there must be.
 */
export class Collector {
  readonly #host: CollectorHost
  /** What was read from the Hash, or is being read, and is not used yet. */
  readonly #read = new Map<Arrival, Promise<Buffer | null>>()
  #settled = 0
  /** Tasks that are settled and will never arrive here: a former driver released their results out of order. */
  #released: number
  #timer: NodeJS.Timeout | undefined
  #scanning = false
  #stopped = false
  #valueBytes = 0
  #valueTasks = 0
  paceNs = 0

  constructor(host: CollectorHost, released = 0) {
    this.#host = host
    this.#released = released
  }

  /** How many of the settled tasks have not arrived. */
  get lacking(): number {
    return this.#settled - this.#released - this.#host.assembler.arrived
  }

  /** The most that Redis has said is settled in this incarnation. */
  get settled(): number {
    return this.#settled
  }

  get meanResultBytes(): number {
    return this.#valueTasks === 0 ? 0 : this.#valueBytes / this.#valueTasks
  }

  onResults(message: ResultsMessage): void {
    if (message.incarnation !== this.#host.part.incarnation) return
    if (message.paceNs > 0) this.paceNs = message.paceNs
    for (const run of message.runs) this.#take({ ...run, valueBytes: run.bytes.length })
    for (const run of message.unread) this.#take({ ...run, bytes: undefined })
    this.expect(message.settled)
  }

  /** So many tasks are settled: when they have not all arrived in a moment, the Hash is read. */
  expect(settled: number): void {
    this.#settled = Math.max(this.#settled, settled)
    if (this.lacking <= 0 || this.#timer !== undefined || this.#stopped) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      if (this.lacking > 0) this.scan()
    }, patienceMs)
  }

  /** Finds what is in the Hash and has not arrived. */
  scan(): void {
    if (this.#scanning) return
    this.#scanning = true
    const done = () => {
      this.#scanning = false
    }
    // When the connection breaks, or Redis is loading, the reconnect or the next poll looks again.
    this.#scan().then(done, done)
  }

  /** Counts begin anew: with a new incarnation, or from what Redis says. */
  reset(released = 0): void {
    this.#settled = 0
    this.#released = released
    this.#read.clear()
  }

  /** What was released before is known by now, and will not be waited for. */
  forgive(): void {
    this.#released = 0
  }

  get released(): number {
    return this.#released
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  /** The bytes of a piece's run; undefined when Redis lost them. What comes next is read meanwhile. */
  async bytesOf(piece: Piece): Promise<Buffer | undefined> {
    const { run } = piece
    if (run.bytes !== undefined) return run.bytes
    this.#readAhead(run)
    try {
      return (await this.#read.get(run)) ?? undefined
    } finally {
      if (piece.last) this.#read.delete(run)
    }
  }

  /** Begins to read this run, unless it is under way, and what comes after it, where little of that is. */
  #readAhead(first: Arrival): void {
    const { assembler } = this.#host
    let ahead = 0
    for (const { valueBytes } of this.#read.keys()) ahead += valueBytes
    const wanted = this.#read.has(first) ? [] : [first]
    if (ahead < readAhead.bytes / 2) {
      let bytes = ahead + first.valueBytes
      for (const { run } of assembler.upcoming()) {
        bytes += run.valueBytes
        if (run.bytes !== undefined || bytes > readAhead.bytes || wanted.length >= readAhead.runs) break
        if (run !== wanted.at(-1) && !this.#read.has(run)) wanted.push(run)
      }
    }
    if (wanted.length > 0) this.#readRuns(wanted)
  }

  #readRuns(runs: readonly Arrival[]): void {
    const { store, part } = this.#host
    const values = store.parts.readResults(part.job, runs)
    for (const [i, run] of runs.entries()) {
      const bytes = values.then(all => bytesOfValue(run, all[i] ?? null))
      this.#read.set(run, bytes)
      // Whoever wants it meets the error, and asks again.
      bytes.catch(() => this.#read.delete(run))
    }
  }

  async #scan(): Promise<void> {
    const { store, part } = this.#host
    const { incarnation } = part
    // Read before the Hash: whatever is settled by then is in it.
    const before = await store.parts.readCounters(part.job)
    if (this.#isStale(incarnation)) return
    if (before?.incarnation !== incarnation) {
      this.#host.lost()
      return
    }
    // Redis may have gone back to less than it once said, and anybody may have said more in its name.
    this.#settled = before.settled
    let cursor = '0'
    do {
      const page = await store.parts.scanResults(part.job, cursor)
      if (this.#isStale(incarnation)) return
      for (const run of page.runs) this.#take({ ...run, bytes: undefined })
      cursor = page.cursor
    } while (cursor !== '0')
    if (before.settled - this.#released - this.#host.assembler.arrived > 0) this.#host.lost()
  }

  #isStale(incarnation: string): boolean {
    return this.#stopped || this.#host.part.incarnation !== incarnation
  }

  #take(run: Arrival): void {
    const { assembler } = this.#host
    // Counted in, it would stand for one that is missing.
    if (run.first + run.count > this.#host.tasks) return
    const keep = run.bytes !== undefined && this.#host.keepsResults() && assembler.heldBytes < mostHeldBytes
    const arrival = keep ? run : { ...run, bytes: undefined, valueBytes: run.valueBytes }
    const outcome = assembler.add(arrival)
    if (outcome === 'clash') this.#host.clashed(run)
    if (outcome !== 'new') return
    this.#valueBytes += run.valueBytes
    this.#valueTasks += run.count
    this.#host.arrived(arrival)
  }
}

function bytesOfValue(run: Arrival, value: Buffer | null): Buffer | null {
  // What is held is the bytes, and nothing but.
  if (value === null || run.held !== undefined) return value
  try {
    const read = decodeRun(String(run.first), value)
    return 'bytes' in read && read.count === run.count && read.kind === run.kind ? read.bytes : null
  } catch (error) {
    if (error instanceof MalformedDataError) return null
    throw error
  }
}
