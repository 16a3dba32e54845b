import { describe, expect, test } from 'vitest'
import { UsageError } from '../../src/errors.ts'
import { isRange, range } from '../../src/driver/range.ts'

describe('range', () => {
  test.each([
    [[...range(4)], [0, 1, 2, 3]],
    [[...range(2, 5)], [2, 3, 4]],
    [[...range(5, 2)], [5, 4, 3]],
    [[...range(10, 0, -4)], [10, 6, 2]],
    [[...range(0, 1, 0.25)], [0, 0.25, 0.5, 0.75]],
    [[...range(0)], []],
    [[...range(3, 0, 1)], []],
  ])('gives the numbers that Python would: %j', (given, expected) => {
    expect(given).toEqual(expected)
  })

  test('does not add up rounding errors', () => {
    expect([...range(0, 1, 0.1)].at(-1)).toBe(0.1 * 9)
  })

  test.each([() => range(NaN), () => range(0, 10, 0), () => range(-5), () => range(0, Infinity), () => range(2e15)])(
    'refuses what has no end or no sense: %s',
    make => {
      expect(make).toThrow(UsageError)
    },
  )

  test('is known as one, and an array is not', () => {
    expect(isRange(range(3))).toBe(true)
    expect(isRange([0, 1, 2])).toBe(false)
  })
})
