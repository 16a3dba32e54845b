import { describe, expect, test } from 'vitest'
import { longestFirst, lowerBound } from '../../bench/core/makespan.ts'
import { granularityUs, metg } from '../../bench/core/metg.ts'
import { checkResults } from '../../bench/core/check.ts'
import { alternate } from '../../bench/core/alternate.ts'
import { quantile, summarize } from '../../bench/core/stats.ts'
import { round } from '../../bench/core/table.ts'
import { spin, spinInput } from '../../bench/work/spin.ts'

describe('stats', () => {
  test('takes the middle one, or the mean of the two in the middle', () => {
    expect(summarize([9, 1, 5])).toEqual({ median: 5, min: 1, max: 9 })
    expect(summarize([1, 10]).median).toBe(5.5)
    expect(() => summarize([])).toThrow(RangeError)
  })

  test('orders by number, not by text', () => {
    expect(quantile([10, 9, 100], 1)).toBe(100)
    expect(quantile([0, 10, 20, 30, 40], 0.25)).toBe(10)
  })
})

describe('METG', () => {
  const point = (us: number, efficiency: number) => ({ workUs: us, granularityUs: us, efficiency })

  test('is where the curve crosses the share, between two sizes on a log axis', () => {
    const found = { kind: 'at', us: expect.closeTo(Math.sqrt(10), 6) as number }
    expect(metg([point(100, 0.9), point(10, 0.6), point(1, 0.4)])).toEqual(found)
    expect(metg([point(1, 0.4), point(10, 0.6), point(100, 0.9)])).toEqual(found)
  })

  test('is the coarsest crossing: what is finer does not count once the efficiency was lost', () => {
    const found = { kind: 'at', us: expect.closeTo(Math.sqrt(1000), 6) as number }
    expect(metg([point(100, 0.9), point(10, 0.1), point(1, 0.7), point(0.1, 0.1)])).toEqual(found)
  })

  test('is a bound where the curve does not cross in range', () => {
    expect(metg([point(10, 0.9), point(1, 0.8)])).toEqual({ kind: 'at most', us: 1 })
    expect(metg([point(10, 0.3), point(1, 0.2)])).toEqual({ kind: 'more than', us: 10 })
    expect(() => metg([])).toThrow(RangeError)
  })

  test('counts the time of all threads in a granularity', () => {
    expect(granularityUs(1, 2, 1_000_000)).toBe(2)
  })
})

describe('makespan', () => {
  test('is bounded by the work and by the longest task', () => {
    expect(lowerBound([1, 2, 3, 4], 2)).toBe(5)
    expect(lowerBound([1, 1, 10], 2)).toBe(10)
    expect(lowerBound([], 2)).toBe(0)
  })

  test('shares every task out once, the longest first', () => {
    expect(longestFirst([1, 5, 2, 4], 2)).toEqual([
      [1, 0],
      [3, 2],
    ])
  })
})

describe('a comparison', () => {
  test('turns the order of the sides, and does not count the first turn', async () => {
    const calls: string[] = []
    const side = (name: string) => ({
      name,
      how: '',
      round: async () => calls.push(name),
      close: () => Promise.resolve(),
    })
    const found = await alternate([side('a'), side('b')], 2)
    expect(calls).toEqual(['a', 'b', 'b', 'a', 'a', 'b'])
    expect(found.map(({ samples }) => samples)).toEqual([
      [4, 5],
      [3, 6],
    ])
  })

  test('refuses a wrong, a missing and a misplaced result', () => {
    const check = (results: number[]) => () => checkResults('side', results, 3, index => index)
    expect(check([0, 1, 2])).not.toThrow()
    expect(check([0, 1])).toThrow('2 results for 3 tasks')
    expect(check([0, 2, 1])).toThrow('result 1 is 2, not 1')
  })
})

test('shows three digits that matter', () => {
  expect([1234567, 0.123456, 12.345, 1000].map(round)).toEqual(['1,235,000', '0.123', '12.3', '1,000'])
})

test('the work depends on every step and on the seed', () => {
  expect(spin(spinInput(0, 7))).toBe(7)
  expect(spin(spinInput(1, 7))).toBe(7 * 1_664_525 + 1_013_904_223)
  expect(spin(spinInput(3, 7))).not.toBe(spin(spinInput(3, 8)))
  expect(spin(spinInput(10, 7))).not.toBe(spin(spinInput(11, 7)))
})
