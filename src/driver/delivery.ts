import { jitteredBackoffMs } from '../runtime/backoff.ts'
import type { Assembler, Piece } from './assembler.ts'
import type { Collector } from './collector.ts'
import { inputsIncomplete } from './job-errors.ts'
import type { Outbox } from './outbox.ts'
import type { Part } from './part.ts'
import type { PartRecord } from '../protocol/records.ts'
import type { Releaser } from './releaser.ts'
import { Signal } from './signal.ts'

/** A piece with what it takes to decode it. */
export interface ReadPiece extends Piece {
  readonly bytes: Buffer
}

/** What the delivery takes from the job, and tells it. */
export interface DeliveredJob {
  readonly part: Part
  readonly outbox: Outbox
  readonly assembler: Assembler
  readonly collector: Collector
  readonly releaser: Releaser
  readonly over: boolean
  /** What ended it, unless it went well. */
  readonly error: Error | undefined
  /** Whether no more inputs are to come. */
  readonly inputsEnded: boolean
  /** Whether what came are all inputs that the job is to have. */
  inputsComplete(): boolean
  /** Results that must be in Redis are not. */
  lost(): void
  /** There may be room for more. */
  nudge(): void
}

/** Hands what is collected to the consumer, piece by piece, and has released what it has used. */
export class Delivery {
  readonly #job: DeliveredJob
  readonly #news = new Signal()
  #record: PartRecord | undefined
  #streams = false
  #begun = false
  #handed: number

  /** `handed`: how many tasks' results an earlier driver's consumer has had. */
  constructor(job: DeliveredJob, handed: number) {
    this.#job = job
    this.#handed = handed
  }

  /** A consumer begins. `stream`: what it has used is released. */
  begin(how: { readonly stream: boolean; readonly ordered: boolean }): void {
    this.#begun = true
    this.#streams = how.stream
    if (!how.ordered) this.#job.assembler.unorder()
  }

  get begun(): boolean {
    return this.#begun
  }

  /** The consumer starts over, where Redis says that it is: called with what it had reduced by then. */
  onRewind: ((checkpoint: PartRecord['checkpoint']) => void) | undefined

  /** What has come, and been used since, is not so in Redis any more: all is given again from where the record says. */
  rewind(record: PartRecord): void {
    this.#record = record
    this.wake()
  }

  /** How many tasks' results the consumers have had, with those that never had a task. */
  get handed(): number {
    return this.#handed
  }

  /** Something arrived, or ended: who waits looks again. */
  wake(): void {
    this.#news.fire()
  }

  /**
   * The next piece, or undefined when there are no more.
   * @throws what ended the job; InputsIncompleteError when a former driver did not submit everything.
   */
  async next(): Promise<ReadPiece | undefined> {
    const job = this.#job
    for (;;) {
      if (job.over) {
        if (job.error !== undefined) throw job.error
        return undefined
      }
      this.#startOver()
      this.#passReleased()
      const piece = job.assembler.shift()
      if (piece !== undefined) {
        const bytes = piece.run.bytes ?? (await this.#read(piece))
        if (bytes !== undefined && this.#record === undefined) return { ...piece, bytes }
      } else if (this.#hasAll()) {
        return undefined
      } else {
        await this.#news.wait()
      }
    }
  }

  /** So many indexes have no task, and there is nothing to hand. */
  pass(count: number): void {
    this.#handed += count
  }

  /** The consumer has used the piece, and everything before it when it goes in order. */
  used(piece: Piece, ordered: boolean): void {
    this.#handed += piece.count
    if (this.#streams)
      this.#job.releaser.add(piece.last ? piece.run : undefined, ordered ? piece.first + piece.count : undefined)
    this.#job.nudge()
  }

  /** Here, where the consumer holds nothing. */
  #startOver(): void {
    const record = this.#record
    if (record === undefined) return
    this.#record = undefined
    const { assembler, collector, releaser } = this.#job
    const released = Math.max(0, record.released - record.cursor)
    assembler.restart(record.cursor)
    this.#handed = record.cursor + released
    this.onRewind?.(record.checkpoint)
    releaser.resume(record.cursor)
    collector.reset(released)
    collector.expect(record.settled)
    collector.scan()
  }

  async #read(piece: Piece): Promise<Buffer | undefined> {
    const { part, collector, assembler, outbox } = this.#job
    for (let attempt = 1; !this.#job.over; attempt++) {
      const { incarnation } = part
      try {
        const bytes = await collector.bytesOf(piece)
        if (bytes !== undefined) {
          assembler.secure(piece)
          outbox.collected(piece.first, piece.first + piece.count, assembler.secured)
          return bytes
        }
        assembler.lose(piece)
        if (part.incarnation === incarnation) this.#job.lost()
        return undefined
      } catch {
        await new Promise(resolve => setTimeout(resolve, jitteredBackoffMs(attempt, { firstMs: 20, mostMs: 1000 })))
      }
    }
    return undefined
  }

  /** Once all that can come is here, the gaps are what a former driver released out of order: they are not waited for. */
  #passReleased(): void {
    const { assembler, collector, outbox } = this.#job
    const { released } = collector
    if (released === 0 || !this.#job.inputsEnded || assembler.arrived + released < outbox.end) return
    assembler.skip(assembler.coverage.gaps(0, outbox.end))
    collector.forgive()
  }

  #hasAll(): boolean {
    const { assembler, outbox, part } = this.#job
    if (!this.#job.inputsEnded || assembler.arrived < outbox.end) return false
    if (!this.#job.inputsComplete()) throw inputsIncomplete(part.job, outbox.end)
    return true
  }
}
