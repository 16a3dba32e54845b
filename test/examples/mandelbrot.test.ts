import { crc32, inflateSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { escapeTime, renderRow } from '../../examples/mandelbrot/fractal.ts'
import { encodePng } from '../../examples/mandelbrot/png.ts'

describe('escapeTime', () => {
  test.each([
    ['0', 0, 0],
    ['-1, in the disc of period 2', -1, 0],
    ['i, which ends in a cycle', 0, 1],
    ['0.25, the cusp', 0.25, 0],
  ])('is undefined for %s', (_what, re, im) => {
    expect(escapeTime(re, im, 5_000)).toBeUndefined()
  })

  test('grows towards the set', () => {
    const times = [1.5, 0.5, 0.3, 0.26].map(re => escapeTime(re, 0, 5_000) ?? Infinity)
    expect(times).toEqual(times.toSorted((a, b) => a - b))
    expect(times.every(time => Number.isFinite(time))).toBe(true)
  })
})

test('a row of the picture is black inside of the set only, and mirrored where the set is', () => {
  const view = { width: 60, height: 40, re: -0.5, im: 0, span: 3, iterations: 200 }
  const upper = renderRow(view, 17)
  expect(upper).toEqual(renderRow(view, 22))
  expect([...upper.subarray(40 * 3, 41 * 3)]).toEqual([0, 0, 0])
  expect(Math.max(...upper.subarray(0, 3))).toBeGreaterThan(0)
})

test('a PNG file holds the pixels, in chunks whose checksums are right', () => {
  const rows = [Uint8Array.of(255, 0, 0, 0, 255, 0), Uint8Array.of(0, 0, 255, 9, 8, 7)]
  const file = encodePng(2, rows)
  expect(file.subarray(0, 8).toString('latin1')).toBe('\x89PNG\r\n\x1a\n')
  const chunks = readChunks(file.subarray(8))
  expect(chunks.map(chunk => chunk.type)).toEqual(['IHDR', 'IDAT', 'IEND'])
  expect(chunks[0]?.data.toString('hex')).toBe('00000002' + '00000002' + '08' + '02' + '000000')
  expect([...inflateSync(chunks[1]?.data ?? Buffer.alloc(0))]).toEqual([0, 255, 0, 0, 0, 255, 0, 0, 0, 0, 255, 9, 8, 7])
})

function readChunks(bytes: Buffer): { readonly type: string; readonly data: Buffer }[] {
  const chunks = []
  for (let at = 0; at < bytes.length;) {
    const length = bytes.readUInt32BE(at)
    const body = bytes.subarray(at + 4, at + 8 + length)
    expect(bytes.readUInt32BE(at + 8 + length)).toBe(crc32(body))
    chunks.push({ type: body.toString('latin1', 0, 4), data: body.subarray(4) })
    at += 12 + length
  }
  return chunks
}
