import { describe, expect, test } from 'vitest'
import { Restarts } from '../../src/runtime/restarts.ts'

/** How many ends of that kind in a row are followed by another start. */
function startsAfter(ends: { cameUp: boolean; upMs: number }): number {
  const restarts = new Restarts()
  for (let starts = 0; starts < 1000; starts++) if (restarts.afterEnd(ends) === undefined) return starts
  return Infinity
}

describe('a process that ends', () => {
  test.each([
    ['before it is up is given up after a few starts', { cameUp: false, upMs: 100 }, 3],
    ['soon after it came up has more chances, since a task may be to blame', { cameUp: true, upMs: 100 }, 23],
    ['after it was up for long is always started again', { cameUp: true, upMs: 60_000 }, Infinity],
  ])('%s', (_, ends, starts) => {
    expect(startsAfter(ends)).toBe(starts)
  })
})

test('the delay grows', () => {
  const restarts = new Restarts()
  const delays = [1, 2, 3].map(() => restarts.afterEnd({ cameUp: false, upMs: 0 }) ?? NaN)
  expect(delays[0]).toBeLessThanOrEqual(200)
  expect(delays[2]).toBeGreaterThanOrEqual(400)
})
