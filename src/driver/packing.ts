import { maxChunkTasks } from '../protocol/chunk.ts'
import { valueBytesEstimate } from '../protocol/values.ts'

/** The work that one pack is to hold: short against a claim's forty milliseconds, so that claims rarely cut packs. */
const packNs = 4_000_000
/** The payload of one pack, unless a single input is larger. */
const packBytes = 64 * 1024
/** While nothing is measured yet, packs double up to here. */
const mostUnmeasured = 1024

/** Nanoseconds a task; 0 while unknown. */
export interface PaceOfJob {
  readonly measured: number
  /** Of an earlier job with the same task. */
  readonly expected: number
}

/**
 * How many tasks the next pack is to hold. Before the pace is known they start with one task each, so that the first
 * tasks spread over all threads, and double: 1, 1, 2, 4, … What is expected may make them larger, and not smaller: a claim
 * cuts what is too large, and nothing joins what is too small.
 */
export function packTasks(packsBefore: number, { measured, expected }: PaceOfJob): number {
  if (measured > 0) return tasksIn(measured)
  const doubled = Math.min(mostUnmeasured, packsBefore < 2 ? 1 : 2 ** Math.min(30, packsBefore - 1))
  return expected > 0 ? Math.max(doubled, tasksIn(expected)) : doubled
}

function tasksIn(paceNs: number): number {
  return Math.min(maxChunkTasks, Math.max(1, Math.round(packNs / paceNs)))
}

/** Inputs being gathered into one pack. */
export class Pack {
  readonly first: number
  readonly inputs: unknown[] = []
  readonly #mostTasks: number
  readonly #until: number
  #bytes = 0

  /** `until`: the time after which it takes no more. */
  constructor(first: number, mostTasks: number, until = Infinity) {
    this.first = first
    this.#mostTasks = mostTasks
    this.#until = until
  }

  /** False when the input does not fit any more: it begins the next pack. A first input always fits. */
  add(input: unknown): boolean {
    const bytes = this.#bytes + valueBytesEstimate(input)
    if (this.inputs.length > 0 && bytes > packBytes) return false
    this.inputs.push(input)
    this.#bytes = bytes
    return true
  }

  get full(): boolean {
    return this.inputs.length >= this.#mostTasks || this.#bytes >= packBytes || this.#isLate()
  }

  /** The clock costs as much as a short input: it is looked at after 1, 2, 4, 8, 16 and then every 32. */
  #isLate(): boolean {
    const count = this.inputs.length
    if (count === 0 || ((count & 31) !== 0 && (count & (count - 1)) !== 0)) return false
    return performance.now() >= this.#until
  }
}
