import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MalformedDataError } from '../../src/errors.ts'
import {
  decodeChunk,
  decodeRangePayload,
  encodeChunk,
  encodeHeader,
  encodeRangePayload,
  parseHeader,
} from '../../src/protocol/chunk.ts'
import type { ChunkHeader } from '../../src/protocol/chunk.ts'

const count = (most: number) => fc.integer({ min: 0, max: most })
const header: fc.Arbitrary<ChunkHeader> = fc
  .record({
    job: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/),
    incarnation: fc.stringMatching(/^[0-9a-f]{1,32}$/),
    base: count(1e14),
    skip: count(1e6),
    count: fc.integer({ min: 1, max: 1e14 }),
    attempt: count(999_999_999),
    deaths: count(999_999_999),
    kind: fc.constantFrom('pack' as const, 'range' as const),
    flags: fc.constantFrom('plain' as const, 'shared' as const, 'reduce' as const, 'both' as const),
    task: fc.string({ minLength: 1, maxLength: 60, unit: 'binary' }).filter(name => !/[\p{Cc}\p{Cs}]/u.test(name)),
  })
  .map(({ skip, ...rest }) => ({ ...rest, first: rest.base + skip }))

describe('chunks', () => {
  test('arrive as they were sent, payload and all', () => {
    fc.assert(
      fc.property(header, fc.uint8Array({ maxLength: 200 }), (sent, payload) => {
        const chunk = decodeChunk(encodeChunk(sent, payload))
        expect(chunk.header).toEqual(sent)
        expect(chunk.line).toBe(encodeHeader(sent))
        expect([...chunk.payload]).toEqual([...payload])
      }),
    )
  })

  test('any other bytes are refused with a typed error, never with another', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), bytes => {
        try {
          decodeChunk(Buffer.from(bytes))
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedDataError)
        }
      }),
    )
  })

  const wrong: readonly [name: string, line: string][] = [
    ['no task', 'job i 0 1 0 1 0 pack plain'],
    ['no tasks in it', 'job i 0 0 0 1 0 pack plain square'],
    ['a payload that begins after it', 'job i 3 1 4 1 0 pack plain square'],
    ['a negative number', 'job i -1 1 0 1 0 pack plain square'],
    ['a number too large to count with', `job i ${'9'.repeat(16)} 1 0 1 0 pack plain square`],
    ['an unknown kind', 'job i 0 1 0 1 0 list plain square'],
    ['unknown flags', 'job i 0 1 0 1 0 pack none square'],
    ['a control character', 'job i 0 1 0 1 0 pack plain squ\tare'],
    ['two blanks', 'job  i 0 1 0 1 0 pack plain square'],
  ]
  test.each(wrong)('a line with %s is none', (_name, line) => {
    expect(parseHeader(line)).toBeUndefined()
    expect(() => decodeChunk(Buffer.from(`${line}\npayload`))).toThrow(MalformedDataError)
  })

  test('a line of more than a kilobyte is none', () => {
    const long = `job i 0 1 0 1 0 pack plain ${'ü'.repeat(500)}`
    expect(() => decodeChunk(Buffer.from(`${long}\n`))).toThrow(MalformedDataError)
  })
})

describe('range payloads', () => {
  test('arrive as they were sent', () => {
    const finite = fc.double({ noNaN: true, noDefaultInfinity: true }).map(value => (Object.is(value, -0) ? 0 : value))
    fc.assert(
      fc.property(finite, finite, (start, step) => {
        expect(decodeRangePayload(encodeRangePayload({ start, step }))).toEqual({ start, step })
      }),
    )
  })

  test.each(['', '1', '1 x', '1 2 3', 'Infinity 1', `1 ${'2'.repeat(100)}`])('%j is none', text => {
    expect(() => decodeRangePayload(Buffer.from(text))).toThrow(MalformedDataError)
  })
})
