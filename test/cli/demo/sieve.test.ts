import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { knownPrimesBelow } from '../../../src/cli/demo/known-primes.ts'
import { PrimeSieve, smallPrimes } from '../../../src/cli/demo/sieve.ts'

describe('PrimeSieve', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])('counts the published number of primes below 10^%i', exponent => {
    const below = 10 ** exponent
    expect(new PrimeSieve(below).count(0, below)).toBe(knownPrimesBelow(below))
  })

  test('counts the primes of any range as trial by small primes does', () => {
    const below = 20_000
    const sieve = new PrimeSieve(below)
    const all = smallPrimes(below)
    fc.assert(
      fc.property(fc.nat(below), fc.nat(below), (from, to) => {
        expect(sieve.count(from, to)).toBe(all.filter(prime => from <= prime && prime < to).length)
      }),
    )
  })

  test('gives the same sum however the numbers are cut into ranges', () => {
    const below = 3_000_000
    const sieve = new PrimeSieve(below)
    fc.assert(
      fc.property(fc.array(fc.nat(below), { maxLength: 6 }), cuts => {
        const edges = [0, ...cuts.sort((a, b) => a - b), below]
        const sum = edges.slice(1).reduce((total, to, index) => total + sieve.count(edges[index] ?? 0, to), 0)
        expect(sum).toBe(216_816)
      }),
      { numRuns: 20 },
    )
  })

  test('finds the primes next to the largest bound that it takes', () => {
    const sieve = new PrimeSieve(60_000_000_000)
    const found = []
    for (let number = 59_999_999_900; number < 60_000_000_000; number++) {
      if (sieve.count(number, number + 1) === 1) found.push(number)
    }
    expect(found).toEqual(byTrialDivision(59_999_999_900, 60_000_000_000))
    expect(found.length).toBeGreaterThan(0)
  })

  test('refuses a bound beyond what its integers hold', () => {
    expect(() => new PrimeSieve(60_000_000_001)).toThrow(RangeError)
  })
})

function byTrialDivision(from: number, to: number): number[] {
  const divisors = smallPrimes(Math.ceil(Math.sqrt(to)))
  const numbers = Array.from({ length: to - from }, (_, index) => from + index)
  return numbers.filter(number => number > 1 && divisors.every(divisor => number % divisor !== 0 || number === divisor))
}
