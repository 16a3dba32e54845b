import { describe, expect, test } from 'vitest'
import { philox } from '../../examples/options/philox.ts'
import { blackScholes, estimate, normalDistribution, simulate } from '../../examples/options/pricing.ts'

const call = { price: 100, strike: 105, rate: 0.03, volatility: 0.2, years: 1 }

// The known answers that come with Random123, the authors' own library.
test.each([
  ['zeros', [0, 0, 0, 0], [0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
  ['ones', [-1, -1, -1, -1], [-1, -1], '408f276d 41c83b0e a20bc7c6 6d5451fd'],
  [
    'digits of π',
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    [0xa4093822, 0x299f31d0],
    'd16cfe09 94fdcceb 5001e420 24126ea1',
  ],
] as const)('Philox gives the published numbers for %s', (_what, counter, key, published) => {
  const numbers = new Uint32Array(4)
  philox(Uint32Array.from(counter), key, numbers)
  expect([...numbers].map(number => number.toString(16).padStart(8, '0')).join(' ')).toBe(published)
})

describe('simulate', () => {
  test('gives a path the same payoff whoever simulates it', () => {
    const whole = simulate(call, 7, 0, 4_000)
    const parts = [0, 400, 1_000].map((from, index, starts) => simulate(call, 7, from, starts[index + 1] ?? 4_000))
    const sum = parts.reduce((total, part) => total + part.sum, 0)
    // The same numbers, added up in another order.
    expect(sum).toBeCloseTo(whole.sum, 7)
    expect(parts.reduce((total, part) => total + part.paths, 0)).toBe(4_000)
  })

  test('gives other payoffs for another seed, and beyond 32 bits of path number', () => {
    const sums = [simulate(call, 7, 0, 400), simulate(call, 8, 0, 400), simulate(call, 7, 2 ** 32, 2 ** 32 + 400)].map(
      ({ sum }) => sum,
    )
    expect(new Set(sums).size).toBe(3)
  })

  test('comes within four standard errors of the closed form', () => {
    const { mean, standardError } = estimate(simulate(call, 1, 0, 400_000))
    expect(standardError).toBeLessThan(0.03)
    expect(Math.abs(mean - blackScholes(call))).toBeLessThan(4 * standardError)
  })
})

test('the closed form gives the price of a textbook', () => {
  // Hull, "Options, Futures, and Other Derivatives", example 15.6: 4.76.
  expect(blackScholes({ price: 42, strike: 40, rate: 0.1, volatility: 0.2, years: 0.5 })).toBeCloseTo(4.7594, 4)
})

test.each([
  [0, 0.5],
  [1, 0.841344746068543],
  [-1.96, 0.02499789514822],
  [5, 0.999999713348428],
  [9, 1],
  [-9, 0],
])('the normal distribution at %d', (x, share) => {
  expect(normalDistribution(x)).toBeCloseTo(share, 12)
})
