import { expect, test } from 'vitest'
import { Tail } from '../../src/runtime/tail.ts'

test('puts lines together from pieces that end anywhere, also within a character', () => {
  const tail = new Tail()
  const bytes = Buffer.from('one\ntwö\n\nthree\nunfinished')
  for (const byte of bytes) tail.write(Buffer.from([byte]))
  expect(tail.lines).toEqual(['one', 'twö', 'three', 'unfinished'])
})

test('keeps the last twenty lines, and of each the beginning', () => {
  const tail = new Tail()
  for (let n = 0; n < 100; n++) tail.add(`line ${n}`)
  tail.write(Buffer.from('x'.repeat(100_000)))
  tail.write(Buffer.from('y'.repeat(100_000)))
  expect(tail.lines).toHaveLength(20)
  expect(tail.lines[0]).toBe('line 81')
  expect(tail.lines.at(-1)).toBe('x'.repeat(300))
})
