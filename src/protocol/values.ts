import { MalformedDataError } from '../errors.ts'
import { ValueDecoder } from './values/decoder.ts'
import { ValueEncoder } from './values/encoder.ts'
import { maxValueBytes } from './values/format.ts'

export { valueBytesEstimate } from './values/estimate.ts'
export { maxValueBytes } from './values/format.ts'

/**
 * The codec for inputs, results and everything else of a user's that goes through Redis. `values/format.ts` says how it
 * looks as bytes.
 *
 * What travels is what `structuredClone` copies of plain data: primitives, arrays, plain objects, Map, Set, Date,
 * RegExp, Error, ArrayBuffer, typed arrays, DataView, and besides Buffer; with cycles and shared references inside one
 * value. In detail:
 * - −0, NaN, holes in arrays, lone surrogates and own keys called `__proto__` arrive as they were.
 * - Objects without a prototype arrive as ordinary ones. Getters arrive as what they returned.
 * - Errors of any class arrive with name, message, stack, cause and the errors of an AggregateError, as instances of
 *   the built-in class with that name or of Error. Their other fields do not arrive.
 * - A typed array arrives with the part of its buffer that it shows, in memory of its own, so that two views of one
 *   buffer arrive as views of two. Of a SharedArrayBuffer, which is refused itself, a view arrives as a copy too.
 * - Named properties of arrays, Maps and other built-ins, the `lastIndex` of a RegExp and properties that are not
 *   enumerable do not arrive.
 * - Everything else is refused with an UnencodableValueError: functions, symbols (as values and as keys of plain
 *   objects), instances of classes and of subclasses of the built-ins, Promise, WeakMap, SharedArrayBuffer, objects
 *   nested more than 500 levels deep, arrays with more than 100,000 holes, getters that throw.
 */

/** Bounds on encoding. */
export interface EncodeLimits {
  /**
   * The most bytes that the result may have; within ten of it, what would fit may be refused already.
   * @default maxValueBytes
   */
  readonly limitBytes?: number
  /**
   * How deep the value will lie in another value of which it becomes a part, if it does.
   * @default 0
   */
  readonly depth?: number
}

/**
 * One value as bytes.
 * @throws {UnencodableValueError} when a part of it cannot travel; `path` names the part, like `$.rows[3].onClick`.
 * @throws {ValueTooLargeError} when it takes more than `limitBytes`.
 */
export function encodeValue(value: unknown, { limitBytes = maxValueBytes, depth = 0 }: EncodeLimits = {}): Buffer {
  return new ValueEncoder(expectedBytes(value), limitBytes).value(value, depth)
}

/**
 * The value of `encodeValue`. It shares no memory with `bytes`.
 * @throws {MalformedDataError} when the bytes are not one value. Any bytes at all are safe to try.
 */
export function decodeValue(bytes: Uint8Array): unknown {
  return reading(bytes, decoder => decoder.value())
}

/**
 * The inputs or results of a run of tasks in one buffer. Each value stands for itself: an object that is part of two
 * values arrives as two objects, because a task may change its input.
 * @throws {UnencodableValueError} for the first value of which a part cannot travel; `path` begins at that value.
 * @throws {ValueTooLargeError} when the batch takes more than `limitBytes`.
 */
export function encodeBatch(values: readonly unknown[], limits: EncodeLimits = {}): Buffer {
  const { bytes, error } = encodeFrom(values, 0, limits)
  if (error !== undefined) throw error
  return bytes
}

/** Consecutive values of a list, from `first`, as a batch. */
export interface EncodedBatch {
  readonly first: number
  readonly count: number
  readonly bytes: Buffer
}

/** A value of a list that cannot travel. */
export interface EncodingFailure {
  readonly index: number
  /** An UnencodableValueError or a ValueTooLargeError. */
  readonly error: Error
}

/**
 * Like `encodeBatch`, for values of which some may be impossible to encode: they end one batch, and the next begins
 * after them, so that the neighbours of a bad result can be committed. Every index is in one batch or one failure, both
 * are in order, and when all is well there is one batch. Values that together take more than `limitBytes` are divided too.
 */
export function encodeBatchSettled(
  values: readonly unknown[],
  limits: EncodeLimits = {},
): { readonly batches: readonly EncodedBatch[]; readonly failures: readonly EncodingFailure[] } {
  const batches: EncodedBatch[] = []
  const failures: EncodingFailure[] = []
  let first = 0
  while (first < values.length) {
    const { bytes, end, error } = encodeFrom(values, first, limits)
    if (end > first) batches.push({ first, count: end - first, bytes })
    // The value that ended a batch is judged alone, with the whole limit for itself.
    else if (error !== undefined) failures.push({ index: first, error })
    first = end > first ? end : first + 1
  }
  return { batches, failures }
}

/**
 * The values of `encodeBatch`. They share no memory with `bytes`, unless these are given away: then nobody else may read
 * them, and a large Buffer may be a view of them.
 * @throws {MalformedDataError} when the bytes are not a batch. Any bytes at all are safe to try.
 */
export function decodeBatch(bytes: Uint8Array, how: { readonly givenAway?: boolean } = {}): unknown[] {
  return reading(bytes, decoder => decoder.batch(), how.givenAway)
}

function encodeFrom(
  values: readonly unknown[],
  first: number,
  { limitBytes = maxValueBytes, depth = 0 }: EncodeLimits,
) {
  // Values of a batch are usually alike. The sum is capped: one large value first must not reserve memory for all.
  const expected =
    Math.min(0x10000, expectedBytes(values[first]) * (values.length - first)) + expectedBytes(values[first])
  return new ValueEncoder(expected, limitBytes).batch(values, first, depth)
}

/** What is certain without a look inside: too little only costs a move. */
function expectedBytes(value: unknown): number {
  if (typeof value === 'number') return 9
  if (typeof value === 'string') return value.length + 9
  return ArrayBuffer.isView(value) || value instanceof ArrayBuffer ? value.byteLength + 16 : 64
}

function reading<T>(bytes: Uint8Array, read: (decoder: ValueDecoder) => T, givenAway = false): T {
  try {
    return read(new ValueDecoder(bytes, givenAway))
  } catch (error) {
    if (error instanceof MalformedDataError) throw error
    // A read past the end, a RegExp that is none, bytes that are no whole number of array elements, and the like.
    throw new MalformedDataError(
      'A stored value is malformed: something other than Millrace wrote it, or it was cut off.',
      {
        cause: error,
      },
    )
  }
}
