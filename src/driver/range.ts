import { UsageError } from '../errors.ts'

const rangeBrand: unique symbol = Symbol.for('millrace.range')
/** Indexes have at most 15 digits on the wire. */
const mostTasks = 1e15

/**
 * Evenly spaced numbers that need no memory: `start + step × index`. As the inputs of `map` it travels without payload,
 * however long it is, and any driver can finish the job from its record alone. Made by {@link range}.
 */
export class Range implements Iterable<number> {
  readonly start: number
  readonly step: number
  readonly length: number
  readonly [rangeBrand] = true

  constructor(start: number, step: number, length: number) {
    this.start = start
    this.step = step
    this.length = length
  }

  *[Symbol.iterator](): Iterator<number> {
    for (let index = 0; index < this.length; index++) yield this.start + this.step * index
  }
}

/**
 * `range(n)` is 0 … n − 1; `range(from, to)` goes from `from` up (or down) to `to`, which is left out; `range(from, to, step)` goes by `step`.
 *
 * @throws {UsageError} for numbers that are not finite, a step of 0, or more than 10¹⁵ numbers.
 * @example
 * mill.map(square, range(1_000_000))
 * range(10, 0, -2) // 10, 8, 6, 4, 2
 */
export function range(countOrFrom: number, to?: number, step?: number): Range {
  const from = to === undefined ? 0 : countOrFrom
  const end = to ?? countOrFrom
  const by = step ?? (end < from ? -1 : 1)
  if (![from, end, by].every(Number.isFinite))
    throw new UsageError(
      `range(${[countOrFrom, to, step].filter(n => n !== undefined).join(', ')}) is not made of finite numbers.`,
    )
  if (by === 0) throw new UsageError('The step of a range is 0, so that it would never end: give another step.')
  if (to === undefined && end < 0)
    throw new UsageError(`range(${end}) has a negative length: give the start too, as in range(0, ${end}).`)
  const length = Math.max(0, Math.ceil((end - from) / by))
  if (length > mostTasks)
    throw new UsageError(`A range of ${length} numbers is too long: a job has at most ${mostTasks} tasks.`)
  return new Range(from, by, length)
}

/** Whether the value came from {@link range}, of this or another copy of the package. */
export function isRange(value: unknown): value is Range {
  return typeof value === 'object' && value !== null && rangeBrand in value
}
