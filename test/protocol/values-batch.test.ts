import { deepStrictEqual, notStrictEqual, strictEqual } from 'node:assert'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MalformedDataError, UnencodableValueError, ValueTooLargeError } from '../../src/errors.ts'
import { decodeBatch, decodeValue, encodeBatch, encodeBatchSettled, encodeValue } from '../../src/protocol/values.ts'
import { graphs, sameGraph, values } from './values-arbitraries.ts'

const nothing = (): undefined => undefined

describe('a batch', () => {
  it('gives back each value as if it had travelled alone', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(values, graphs, fc.integer()), { maxLength: 20 }), list => {
        const arrived = decodeBatch(encodeBatch(list))
        strictEqual(arrived.length, list.length)
        list.forEach((value, i) => {
          strictEqual(sameGraph(arrived[i], decodeValue(encodeValue(value))), true)
        })
      }),
      { numRuns: 400 },
    )
  })

  it('gives two objects for one that is in two values, and one for one that is twice in a value', () => {
    const common = { list: [1] }
    const [a, b] = decodeBatch(encodeBatch([common, { once: common, twice: common }])) as [
      typeof common,
      { once: typeof common; twice: typeof common },
    ]
    deepStrictEqual(a, b.once)
    notStrictEqual(a, b.once)
    strictEqual(b.once, b.twice)
    a.list.push(2)
    deepStrictEqual(b.once.list, [1])
  })

  it('keeps numbers of every kind, mixed with anything', () => {
    const edges = [
      0,
      -0,
      1,
      -1,
      127,
      128,
      -32,
      -33,
      -128,
      -129,
      255,
      256,
      65_535,
      65_536,
      -32_768,
      -32_769,
      2 ** 31,
      2 ** 32,
    ]
    const numbers = [...edges, -(2 ** 31), 2 ** 53, NaN, Infinity, 0.1]
    for (const list of [
      numbers,
      numbers.toReversed(),
      numbers.flatMap(number => [number, `${number}`]),
      numbers.flatMap(n => [n, [n]]),
    ]) {
      const arrived = decodeBatch(encodeBatch(list))
      deepStrictEqual(arrived, list)
      expect(arrived).toEqual(list)
    }
  })

  it('takes at most 9 bytes for a number and 5 for a whole number of 32 bits, besides 5 for the batch', () => {
    const count = 1000
    const fractions = Array.from({ length: count }, (_, i) => i / 7 + 0.01)
    const whole = Array.from({ length: count }, (_, i) => 2 ** 32 - 1 - i)
    expect(encodeBatch(fractions).length).toBeLessThanOrEqual(9 * count + 5)
    expect(encodeBatch(whole).length).toBeLessThanOrEqual(5 * count + 5)
    expect(encodeBatch(whole.map(n => (-n / 2) | 0)).length).toBeLessThanOrEqual(5 * count + 5)
  })

  it.each([0, 1, 15, 16, 31, 32, 33, 65_535, 65_536, 200_000])('may be of %i values', length => {
    const list = Array.from({ length }, (_, i) => i * 1.5)
    deepStrictEqual(decodeBatch(encodeBatch(list)), list)
  })

  it('keeps holes as undefined, since every task has an input', () => {
    deepStrictEqual(decodeBatch(encodeBatch(new Array(3))), [undefined, undefined, undefined])
  })

  it('is refused with the error of the first value that cannot travel, its path beginning at that value', () => {
    expect(() => encodeBatch([1, { a: [nothing] }, nothing])).toThrow(UnencodableValueError)
    expect(() => encodeBatch([1, { a: [nothing] }, nothing])).toThrow(expect.objectContaining({ path: '$.a[0]' }))
  })

  it('is none when bytes are missing or left over', () => {
    const bytes = encodeBatch([1, 'two', { three: 3 }])
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeBatch(bytes.subarray(0, length))).toThrow(MalformedDataError)
    }
    expect(() => decodeBatch(Buffer.concat([bytes, Buffer.from([1])]))).toThrow(MalformedDataError)
    expect(() => decodeBatch(encodeValue({ a: 1 }))).toThrow(MalformedDataError)
  })
})

describe('a batch in which some values cannot travel', () => {
  it('is one batch with the same bytes when all can', () => {
    const list = [1, 'two', { three: 3 }]
    deepStrictEqual(encodeBatchSettled(list), {
      batches: [{ first: 0, count: 3, bytes: encodeBatch(list) }],
      failures: [],
    })
    deepStrictEqual(encodeBatchSettled([]), { batches: [], failures: [] })
  })

  it('has every index once, in a batch or in a failure', () => {
    const bad = fc.constantFrom<unknown>(nothing, Symbol('s'), [1, { a: nothing }], new WeakMap())
    fc.assert(
      fc.property(
        fc.array(fc.oneof({ weight: 4, arbitrary: values }, { weight: 2, arbitrary: bad }), { maxLength: 20 }),
        list => {
          const { batches, failures } = encodeBatchSettled(list)
          const outcome = new Map<number, unknown>(failures.map(({ index, error }) => [index, error]))
          for (const { first, count, bytes } of batches) {
            const arrived = decodeBatch(bytes)
            strictEqual(arrived.length, count)
            arrived.forEach((value, i) => {
              strictEqual(outcome.has(first + i), false)
              outcome.set(first + i, value)
            })
          }
          strictEqual(outcome.size, list.length)
          list.forEach((value, i) => {
            let expected: unknown
            try {
              expected = decodeValue(encodeValue(value))
            } catch (error) {
              expect(outcome.get(i)).toEqual(error)
              return
            }
            strictEqual(sameGraph(outcome.get(i), expected), true)
          })
        },
      ),
      { numRuns: 400 },
    )
  })

  it('leaves nothing of a failed value in the bytes', () => {
    const { batches, failures } = encodeBatchSettled([1, { big: 'x'.repeat(5000), bad: nothing }, 2, 3])
    expect(batches.map(({ first, count }) => [first, count])).toEqual([
      [0, 1],
      [2, 2],
    ])
    expect(batches[0]!.bytes.length).toBe(6)
    expect(failures.map(({ index }) => index)).toEqual([1])
    expect(failures[0]!.error).toEqual(expect.objectContaining({ path: '$.bad' }))
  })

  it('is divided where it grows beyond the limit, and only what is too large alone fails', () => {
    const sized = (bytes: number) => Buffer.alloc(bytes, 1)
    const list = [sized(400), sized(400), sized(400), sized(5000), sized(10), 5]
    const { batches, failures } = encodeBatchSettled(list, { limitBytes: 1000 })
    expect(failures.map(({ index }) => index)).toEqual([3])
    expect(failures[0]!.error).toBeInstanceOf(ValueTooLargeError)
    expect(batches.map(({ first, count }) => [first, count])).toEqual([
      [0, 2],
      [2, 1],
      [4, 2],
    ])
    for (const { bytes } of batches) expect(bytes.length).toBeLessThanOrEqual(1000)
    expect(() => encodeBatch(list.slice(0, 3), { limitBytes: 1000 })).toThrow(ValueTooLargeError)
  })

  it('holds as many values as it says it does, wherever among them the limit is met', () => {
    const list = Array.from({ length: 80 }, (_, i) => {
      if (i % 7 === 0) return 'x'.repeat(20 + i)
      return i % 5 === 0 ? [i, i / 3, { i }] : i * 1e5
    })
    for (let limitBytes = 300; limitBytes <= 2000; limitBytes++) {
      const { batches, failures } = encodeBatchSettled(list, { limitBytes })
      expect(failures).toEqual([])
      deepStrictEqual(
        batches.flatMap(({ bytes }) => decodeBatch(bytes)),
        list,
      )
      for (const { bytes } of batches) expect(bytes.length).toBeLessThanOrEqual(limitBytes)
    }
  })

  it('is divided where numbers alone are too many for the limit', () => {
    const list = Array.from({ length: 1000 }, (_, i) => i + 0.5)
    const { batches, failures } = encodeBatchSettled(list, { limitBytes: 1000 })
    expect(failures).toEqual([])
    deepStrictEqual(
      batches.flatMap(({ bytes }) => decodeBatch(bytes)),
      list,
    )
  })
})
