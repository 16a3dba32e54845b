import type { RunKind } from '../protocol/run.ts'
import { Coverage } from './coverage.ts'
import type { Stretch } from './coverage.ts'

/** A run of results that has arrived, with its bytes or, if they were too many to send along, without. */
export interface Arrival {
  readonly first: number
  readonly count: number
  readonly kind: RunKind
  /** Undefined: still to be read from the results Hash. */
  readonly bytes: Buffer | undefined
  readonly valueBytes: number
  /** Where its bytes are, if not in the results Hash; see `UnreadRun`. */
  readonly held?: string
}

/** What a consumer gets at once: a run, or what of it is new. */
export interface Piece {
  readonly first: number
  readonly count: number
  readonly run: Arrival
  /** Whether no other piece of this run comes after it, so that the run can be released with it. */
  readonly last: boolean
}

/**
 * Puts runs of results that come in any order, some of them twice, into order (or hands them on as they come), each
 * index exactly once. Knows nothing of Redis.
 */
export class Assembler {
  #coverage = new Coverage()
  /** What has arrived with its bytes, so that Redis is not needed for it any more. */
  #secured = new Coverage()
  #ordered = true
  /** Ordered: pieces by their first index. */
  readonly #waiting = new Map<number, Piece>()
  /** Unordered: pieces as they came. */
  #queue: Piece[] = []
  #queueHead = 0
  #cursor = 0
  #heldBytes = 0
  #heldTasks = 0

  /** Everything before `cursor` was used and released earlier. */
  constructor(cursor = 0) {
    this.restart(cursor)
  }

  /** Forgets all that has come: everything before `cursor` was used and released, and the rest comes again. */
  restart(cursor: number): void {
    this.#coverage = new Coverage()
    this.#secured = new Coverage()
    this.#waiting.clear()
    this.#queue = []
    this.#queueHead = 0
    this.#heldBytes = 0
    this.#heldTasks = 0
    this.#cursor = cursor
    this.#coverage.add(0, cursor)
    this.#secured.add(0, cursor)
  }

  /** From now on pieces are given as they come. */
  unorder(): void {
    this.#ordered = false
    for (const piece of this.#waiting.values()) if (piece.run !== skipped) this.#queue.push(piece)
    this.#waiting.clear()
  }

  /** How many indexes have arrived, or are skipped. */
  get arrived(): number {
    return this.#coverage.tasks
  }

  /** The bytes of results that wait here. */
  get heldBytes(): number {
    return this.#heldBytes
  }

  /** The tasks whose results wait here for the consumer. */
  get heldTasks(): number {
    return this.#heldTasks
  }

  get coverage(): Pick<Coverage, 'gaps'> {
    return this.#coverage
  }

  get secured(): Pick<Coverage, 'covers'> {
    return this.#secured
  }

  /** The bytes of a piece that came without them have been read. */
  secure(piece: Piece): void {
    this.#secured.add(piece.first, piece.first + piece.count)
  }

  /**
   * Takes a run. 'known': all of it was here already. 'clash': part of it was, and a reduction can't be divided; it
   * was not taken.
   */
  add(run: Arrival): 'new' | 'known' | 'clash' {
    const end = run.first + run.count
    const fresh = this.#coverage.gaps(run.first, end)
    if (fresh.length === 0) return 'known'
    const whole = fresh.length === 1 && fresh[0]![0] === run.first && fresh[0]![1] === end
    if (!whole && run.kind !== 'values') return 'clash'
    this.#coverage.add(run.first, end)
    // Not what was known before: that may still be in Redis alone, in a run of other bounds from before Redis went back.
    if (run.bytes !== undefined) for (const [from, to] of fresh) this.#secured.add(from, to)
    this.#heldBytes += run.bytes?.length ?? 0
    const lastFrom = fresh[fresh.length - 1]![0]
    for (const [from, to] of fresh) this.#hold({ first: from, count: to - from, run, last: from === lastFrom })
    return 'new'
  }

  /** The next piece, or undefined when it has not arrived. */
  shift(): Piece | undefined {
    const piece = this.#ordered ? this.#nextInOrder() : this.#nextOfQueue()
    if (piece === undefined) return undefined
    this.#heldTasks -= piece.count
    if (piece.last) this.#heldBytes -= piece.run.bytes?.length ?? 0
    return piece
  }

  /** The pieces that come next as far as they have arrived, which `shift` has not given yet. */
  *upcoming(): Generator<Piece> {
    if (!this.#ordered) {
      for (let i = this.#queueHead; i < this.#queue.length; i++) yield this.#queue[i]!
      return
    }
    let piece = this.#waiting.get(this.#cursor)
    while (piece !== undefined) {
      if (piece.run !== skipped) yield piece
      piece = this.#waiting.get(piece.first + piece.count)
    }
  }

  /** Takes indexes for settled that will never arrive, because their results were released before. */
  skip(stretches: readonly Stretch[]): void {
    for (const [from, to] of stretches) {
      this.#secured.add(from, to)
      for (const [start, end] of this.#coverage.add(from, to)) {
        // An empty piece, so that the order goes on behind it.
        if (this.#ordered) this.#waiting.set(start, { first: start, count: end - start, run: skipped, last: false })
      }
    }
  }

  /** The piece that `shift` gave last turned out to be gone from Redis: as if its tasks had never arrived. */
  lose(piece: Piece): void {
    this.#coverage.remove(piece.first, piece.first + piece.count)
    if (this.#ordered) this.#cursor = piece.first
  }

  /** Forgets the runs whose bytes are still in Redis, because Redis lost them. */
  forgetUnread(): void {
    for (const piece of [...this.#waiting.values(), ...this.#queue.slice(this.#queueHead)]) {
      if (piece.run.bytes !== undefined || piece.run === skipped) continue
      this.#waiting.delete(piece.first)
      this.#heldTasks -= piece.count
      this.#coverage.remove(piece.first, piece.first + piece.count)
    }
    this.#queue = this.#queue.slice(this.#queueHead).filter(piece => piece.run.bytes !== undefined)
    this.#queueHead = 0
  }

  #hold(piece: Piece): void {
    this.#heldTasks += piece.count
    if (this.#ordered) this.#waiting.set(piece.first, piece)
    else this.#queue.push(piece)
  }

  #nextInOrder(): Piece | undefined {
    for (;;) {
      const piece = this.#waiting.get(this.#cursor)
      if (piece === undefined) return undefined
      this.#waiting.delete(this.#cursor)
      this.#cursor += piece.count
      if (piece.run !== skipped) return piece
    }
  }

  #nextOfQueue(): Piece | undefined {
    const piece = this.#queue[this.#queueHead]
    if (piece === undefined) return undefined
    this.#queueHead++
    if (this.#queueHead >= 1024 && this.#queueHead * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#queueHead)
      this.#queueHead = 0
    }
    return piece
  }
}

const skipped: Arrival = { first: 0, count: 0, kind: 'values', bytes: undefined, valueBytes: 0 }
