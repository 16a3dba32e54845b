import { setImmediate as turnEnd } from 'node:timers/promises'
import { UnencodableValueError } from '../errors.ts'
import { encodeRangePayload } from '../protocol/chunk.ts'
import { encodeBatchSettled, maxValueBytes } from '../protocol/values.ts'
import type { InputSource } from './input-source.ts'
import type { Outbox } from './outbox.ts'
import { Pack, packTasks } from './packing.ts'
import type { PaceOfJob } from './packing.ts'
import type { Range } from './range.ts'
import { Signal } from './signal.ts'

/** What puts a job's inputs into its outbox. */
export interface Feeder {
  /** Whether all inputs are in the outbox. */
  readonly ended: boolean
  /** Resolves when it is; rejects when an input can't be had or can't travel. */
  run(): Promise<void>
  /** There may be room again. */
  nudge(): void
  stop(): void
}

/** What a feeder asks the job. */
export interface FeederHost {
  readonly outbox: Outbox
  /** How many more tasks may be outstanding. */
  room(): number
  readonly pace: PaceOfJob
  /** There is something to send. */
  send(): void
}

/** The largest range chunk of a windowed job: a fraction of the window, so that it moves on smoothly. */
const mostRangeTasks = 32_768

/** How long inputs are pulled before whatever else the driver has to do gets its turn. */
const mostPullMs = 10

/** An empty feeder: what another driver submitted is all there will be. */
export const nothingToFeed: Feeder = {
  ended: true,
  run: () => Promise.resolve(),
  nudge: () => undefined,
  stop: () => undefined,
}

/** Packs inputs that are pulled from a source. */
export class ListFeeder implements Feeder {
  readonly #source: InputSource
  readonly #host: FeederHost
  readonly #signal = new Signal()
  #skip: number
  #packs = 0
  #stopped = false
  ended = false

  /** `skip`: how many inputs were submitted by an earlier driver, and are pulled and discarded. */
  constructor(source: InputSource, host: FeederHost, skip = 0) {
    this.#source = source
    this.#host = host
    this.#skip = skip
  }

  async run(): Promise<void> {
    if (this.#skip > 0) await this.#source.discard(this.#skip)
    this.#skip = 0
    while (!this.#stopped) {
      const until = performance.now() + mostPullMs
      while (this.#mayPack() && performance.now() < until) {
        const mostTasks = Math.min(packTasks(this.#packs++, this.#host.pace), this.#host.room())
        const pack = new Pack(this.#host.outbox.end, mostTasks, until)
        const filling = this.#source.fill(pack)
        if (filling !== undefined) await filling
        if (this.#isStopped()) return
        if (pack.inputs.length > 0) this.#host.outbox.push(pack.inputs.length, encodePack(pack))
        if (this.#source.ended) {
          this.ended = true
          this.#host.send()
          return
        }
        // Inputs that come slowly go out at once.
        if (filling !== undefined) this.#host.send()
      }
      this.#host.send()
      if (this.#mayPack()) await turnEnd()
      else await this.#signal.wait()
    }
  }

  nudge(): void {
    this.#signal.fire()
  }

  stop(): void {
    this.#stopped = true
    this.#signal.fire()
    this.#source.close()
  }

  #isStopped(): boolean {
    return this.#stopped
  }

  #mayPack(): boolean {
    return !this.#isStopped() && !this.#host.outbox.full && this.#host.room() > 0
  }
}

/** Cuts a range into chunks that have no payload of their own. */
export class RangeFeeder implements Feeder {
  readonly #range: Range
  readonly #host: FeederHost
  readonly #chunkTasks: number
  readonly #signal = new Signal()
  #stopped = false
  ended = false

  /** A detached range is a single chunk: claims carve it. */
  constructor(range: Range, host: FeederHost, detached: boolean) {
    this.#range = range
    this.#host = host
    this.#chunkTasks = detached ? Infinity : mostRangeTasks
  }

  async run(): Promise<void> {
    const { outbox } = this.#host
    const payload = encodeRangePayload(this.#range)
    while (!this.#stopped) {
      while (outbox.end < this.#range.length && !outbox.full) {
        const count = Math.min(this.#range.length - outbox.end, this.#chunkTasks, this.#host.room())
        if (count <= 0) break
        outbox.push(count, payload)
      }
      this.ended = outbox.end >= this.#range.length
      this.#host.send()
      if (this.ended) return
      await this.#signal.wait()
    }
  }

  nudge(): void {
    this.#signal.fire()
  }

  stop(): void {
    this.#stopped = true
    this.#signal.fire()
  }
}

/** Leaves room for a chunk's header in what Redis takes as one string. */
export const payloadLimitBytes = maxValueBytes - 4096

/** @throws {UnencodableValueError | ValueTooLargeError} naming the input by its index in the job. */
function encodePack(pack: Pack): Buffer {
  const { batches, failures } = encodeBatchSettled(pack.inputs, { limitBytes: payloadLimitBytes })
  const failure = failures[0]
  if (failure !== undefined) throw inputError(pack.first + failure.index, failure.error)
  // The estimate keeps packs far below the limit, unless it is a single input, so there is one batch.
  return batches.length === 1 ? batches[0]!.bytes : Buffer.alloc(0)
}

/** The error that names the input, by its index. */
export function inputError(index: number, error: Error): Error {
  if (!(error instanceof UnencodableValueError)) return error
  const path = `$[${index}]${error.path.slice(1)}`
  return new UnencodableValueError(
    `Input ${index} can't be sent to a worker: ${path}${error.message.slice(error.path.length)}`,
    { path, cause: error },
  )
}
