import { expect, test } from 'vitest'
import { factors } from '../../examples/plain-redis/factors.ts'

test.each([
  ['2', '2'],
  ['360', '2 2 2 3 3 5'],
  ['97', '97'],
  ['99999999', '3 3 11 73 101 137'],
  ['1', ''],
])('the factors of %s are %s', (value, expected) => {
  expect(factors(BigInt(value)).join(' ')).toBe(expected)
})
