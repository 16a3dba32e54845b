import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MalformedDataError } from '../../src/errors.ts'
import { decodeCollectorMessage, decodeRun, encodeAnswered, runValue } from '../../src/protocol/run.ts'

const run = fc.record({
  first: fc.integer({ min: 0, max: 1e14 }),
  count: fc.integer({ min: 1, max: 1e14 }),
  kind: fc.constantFrom('values' as const, 'partial' as const, 'failure' as const),
  bytes: fc.uint8Array({ maxLength: 100 }).map(bytes => Buffer.from(bytes)),
})

test('runs arrive as they were stored', () => {
  fc.assert(
    fc.property(run, stored => {
      expect(decodeRun(String(stored.first), Buffer.concat(runValue(stored)))).toEqual(stored)
    }),
  )
})

test.each([
  ['0', ''],
  ['0', '3 values'],
  ['0', '0 values\n'],
  ['0', 'x values\n'],
  ['0', '1 other\n'],
  ['x', '1 values\n'],
  ['', '1 values\n'],
  ['-1', '1 values\n'],
])('field %j with %j is no run', (field, value) => {
  expect(() => decodeRun(field, Buffer.from(value))).toThrow(MalformedDataError)
})

describe('messages to a collector', () => {
  test('carry runs whose bytes are anything, line feeds too', () => {
    fc.assert(
      fc.property(fc.array(run, { maxLength: 5 }), runs => {
        const parts = runs.flatMap(sent => {
          const value = Buffer.concat(runValue(sent))
          return [Buffer.from(`${sent.first} ${value.length}\n`), value]
        })
        const message = Buffer.concat([
          Buffer.from('results job inc 17 2.5\n'),
          ...parts,
          Buffer.from('99 - 4 values 123\n'),
        ])
        expect(decodeCollectorMessage(message)).toEqual({
          type: 'results',
          job: 'job',
          incarnation: 'inc',
          settled: 17,
          paceNs: 2.5,
          runs,
          unread: [{ first: 99, count: 4, kind: 'values', valueBytes: 123 }],
        })
      }),
    )
  })

  test('tell of a new collector, a cancellation and an answer', () => {
    expect(decodeCollectorMessage(Buffer.from('replaced job inc\n'))).toEqual({
      type: 'replaced',
      job: 'job',
      incarnation: 'inc',
    })
    expect(decodeCollectorMessage(Buffer.from('cancelled job inc\n'))).toEqual({
      type: 'cancelled',
      job: 'job',
      incarnation: 'inc',
    })
    expect(decodeCollectorMessage(encodeAnswered('b1', 'w/0'))).toEqual({
      type: 'answered',
      broadcast: 'b1',
      field: 'w/0',
    })
  })

  test('of any other form are refused with a typed error, never with another', () => {
    const almost = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map(bytes => Buffer.from(bytes)),
      fc.string({ maxLength: 60 }).map(text => Buffer.from(`results job inc 1 0\n${text}`)),
      fc
        .tuple(fc.nat(300), fc.nat(20))
        .map(([size, given]) => Buffer.from(`results job inc 1 0\n0 ${size}\n${'x'.repeat(given)}`)),
    )
    fc.assert(
      fc.property(almost, message => {
        try {
          decodeCollectorMessage(message)
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedDataError)
        }
      }),
    )
  })
})
