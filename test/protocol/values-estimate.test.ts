import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeValue, maxValueBytes, valueBytesEstimate } from '../../src/protocol/values.ts'
import { graphs } from './values-arbitraries.ts'

describe('an estimate of bytes', () => {
  it.each([
    ['a number', 12],
    ['a fraction', 0.1],
    ['a large number', 1_000_000],
    ['a string', 'hello world'],
    ['a long string', 'x'.repeat(100_000)],
    ['a BigInt', 2n ** 4000n],
    ['a buffer', Buffer.alloc(1_000_000)],
    ['a typed array', new Float64Array(1000)],
    ['a row', { id: 17, name: 'Ada Lovelace', tags: ['a', 'b'], at: new Date(0), score: 0.5 }],
    ['many rows', Array.from({ length: 10_000 }, (_, i) => ({ id: i, name: `user ${i}`, score: i / 3 }))],
    ['many numbers', Array.from({ length: 100_000 }, (_, i) => i / 3)],
    ['a Map', new Map(Array.from({ length: 1000 }, (_, i) => [`key ${i}`, { i }]))],
    ['a Set', new Set(Array.from({ length: 1000 }, (_, i) => `key ${i}`))],
    ['a wide object', Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`key ${i}`, 'x'.repeat(100)]))],
    ['a small list before a large field', { list: Array(1000).fill(1), blob: 'x'.repeat(1_000_000) }],
    ['a matrix', Array.from({ length: 300 }, () => Array.from({ length: 300 }, () => 0.1))],
  ])('of %s is right within a factor of two', (_, value) => {
    const bytes = encodeValue(value).length
    expect(valueBytesEstimate(value)).toBeGreaterThan(bytes / 2 - 8)
    expect(valueBytesEstimate(value)).toBeLessThan(bytes * 2 + 32)
  })

  it('looks at a bounded part of anything', () => {
    let reads = 0
    const wide = (): object =>
      new Proxy(
        {},
        {
          ownKeys: () => Array.from({ length: 50 }, (_, i) => `key${i}`),
          getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true, value: 1 }),
          get: () => {
            reads++
            if (reads > 100_000) throw new Error('it does not end')
            return wide()
          },
        },
      )
    expect(valueBytesEstimate(Array(1000).fill(wide()))).toBeGreaterThan(0)
    expect(reads).toBeLessThan(20_000)
  })

  it('is a whole number between 1 and the limit, whatever the value is', () => {
    const self: unknown[] = []
    for (let i = 0; i < 1000; i++) self.push(self, [self], { self })
    const throwing = {
      get a(): number {
        throw new Error('no')
      },
    }
    const fixed: unknown[] = [
      self,
      throwing,
      () => 1,
      Symbol('s'),
      undefined,
      null,
      new Error('e'),
      Object.create(null),
      new WeakMap(),
      new Array(4e9),
    ]
    fc.assert(
      fc.property(fc.oneof(graphs, fc.constantFrom(...fixed), fc.anything()), value => {
        const estimate = valueBytesEstimate(value)
        expect(Number.isInteger(estimate) && estimate >= 1 && estimate <= maxValueBytes).toBe(true)
      }),
      { numRuns: 500 },
    )
  })
})
