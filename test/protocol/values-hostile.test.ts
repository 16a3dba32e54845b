import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { MalformedDataError } from '../../src/errors.ts'
import { decodeBatch, decodeValue, encodeBatch, encodeValue } from '../../src/protocol/values.ts'
import { mutated, seeded } from './support/mutations.ts'
import { graphs, partsOf, values } from './values-arbitraries.ts'

const decoders = { decodeValue, decodeBatch }

const allowed = new Set<unknown>([
  Object.prototype,
  Array.prototype,
  Map.prototype,
  Set.prototype,
  Date.prototype,
  RegExp.prototype,
  ArrayBuffer.prototype,
  DataView.prototype,
  Buffer.prototype,
  ...[Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array].map(c => c.prototype),
  ...[Float32Array, Float64Array, BigInt64Array, BigUint64Array].map(c => c.prototype),
  ...[Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].map(c => c.prototype),
])

/** Fails unless everything in the value is data of a known class, and new: no function, no object that existed before. */
function mustBePlain(value: unknown): void {
  const seen = new Set<unknown>([value])
  for (const part of seen) {
    if (typeof part === 'function' || typeof part === 'symbol') throw new Error(`a ${typeof part}`)
    if (typeof part !== 'object' || part === null) continue
    if (!allowed.has(Object.getPrototypeOf(part)) || allowed.has(part)) throw new Error('an object of another class')
    const descriptors = Object.values(Object.getOwnPropertyDescriptors(ArrayBuffer.isView(part) ? {} : part))
    if (descriptors.some(descriptor => !('value' in descriptor))) throw new Error('an accessor')
    for (const inside of partsOf(part)) seen.add(inside)
  }
}

function prototypes(): string {
  return [...allowed, Function.prototype, globalThis]
    .map(object =>
      Reflect.ownKeys(object as object)
        .map(String)
        .join(),
    )
    .join('\n')
}

/** Decodes and checks; says whether the bytes were a value. */
function tryDecoding(bytes: Uint8Array, decode: (bytes: Uint8Array) => unknown): boolean {
  let value: unknown
  try {
    value = decode(bytes)
  } catch (error) {
    if (error instanceof MalformedDataError) return false
    throw new Error(`not a MalformedDataError for ${Buffer.from(bytes).toString('hex')}`, { cause: error })
  }
  mustBePlain(value)
  return true
}

/** Bytes that mean something in the format: headers, extension types, extreme sizes. */
const interesting = [
  ...[0x00, 0x01, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xe0, 0xff],
  ...Array.from({ length: 0x20 }, (_, i) => 0xc0 + i),
  ...[0x61, 0x62, 0x64, 0x65, 0x6d, 0x72, 0x73, 0x74, 0x75, 0x78],
]

describe.each(Object.entries(decoders))('any bytes are safe to %s', (name, decode) => {
  const encode = name === 'decodeValue' ? encodeValue : (value: unknown) => encodeBatch([value, 1, 'two', value])
  let before: string

  beforeAll(() => {
    before = prototypes()
  })

  it('random bytes, 12,000 times', () => {
    const next = seeded(1)
    let decoded = 0
    for (let i = 0; i < 12_000; i++) {
      const units = Array.from({ length: next() % 64 }, () =>
        next() % 3 ? interesting[next() % interesting.length]! : next(),
      )
      // Most begin as a short list, or few would be read beyond the first byte.
      if (next() % 4) units.unshift(0x90 | (next() % 5))
      if (tryDecoding(Buffer.from(units), decode)) decoded++
    }
    expect(decoded).toBeGreaterThan(50)
    expect(prototypes()).toBe(before)
  })

  it('damaged values, 12,000 times, with bounded time and memory', () => {
    const seed = 7
    const originals = [...fc.sample(values, { numRuns: 300, seed }), ...fc.sample(graphs, { numRuns: 100, seed })].map(
      value => encode(value),
    )
    const next = seeded(2)
    let decoded = 0
    let slowestMs = 0
    let peakBytes = 0
    for (let i = 0; i < 12_000; i++) {
      const [original, other] = [originals[next() % originals.length]!, originals[next() % originals.length]!]
      const bytes = mutated(original, other, next, interesting)
      const startedMs = performance.now()
      if (tryDecoding(bytes, decode)) decoded++
      slowestMs = Math.max(slowestMs, performance.now() - startedMs)
      if (i % 100 === 0) peakBytes = Math.max(peakBytes, process.memoryUsage().rss)
    }
    expect(decoded).toBeGreaterThan(500)
    expect(slowestMs).toBeLessThan(3000)
    expect(peakBytes).toBeLessThan(1.5e9)
    expect(prototypes()).toBe(before)
  })
})

function bytesOf(...parts: (number | string | number[])[]): Buffer {
  return Buffer.concat(
    parts.map(part => (typeof part === 'number' ? Buffer.from([part]) : Buffer.from(part as string))),
  )
}

/** What decoding takes, at its peak, in memory that the collector cannot have back before it ends. */
function memoryOf(bytes: Buffer): number {
  const before = process.memoryUsage()
  try {
    decodeValue(bytes)
  } catch (error) {
    expect(error).toBeInstanceOf(MalformedDataError)
  }
  const after = process.memoryUsage()
  return after.rss - before.rss
}

describe('hostile bytes', () => {
  it.each([
    ['an array', [0xdd, 0xff, 0xff, 0xff, 0xff]],
    ['a short array', [0xdc, 0xff, 0xff]],
    ['an object', [0xdf, 0xff, 0xff, 0xff, 0xff]],
    ['a string', [0xdb, 0xff, 0xff, 0xff, 0xff]],
    ['a buffer', [0xc6, 0xff, 0xff, 0xff, 0xff]],
    ['an extension', [0xc9, 0xff, 0xff, 0xff, 0xff, 0x74]],
    ['a Map', [0xc9, 0, 0, 0, 5, 0x6d, 0xdf, 0xff, 0xff, 0xff, 0xff]],
    ['a Set', [0xc9, 0, 0, 0, 5, 0x73, 0xdd, 0xff, 0xff, 0xff, 0xff]],
  ])('that claim %s of gigabytes take nothing', (_, header) => {
    for (const decode of Object.values(decoders)) {
      expect(() => decode(Buffer.from(header))).toThrow(MalformedDataError)
      expect(() => decode(bytesOf(0x91, header))).toThrow(MalformedDataError)
    }
  })

  it('that claim, at every level, all that is left take no more than a level would', () => {
    const filler = 1_000_000
    const header = [0xdd, 0, 0x0e, 0, 0]
    const nested = Buffer.concat([...Array.from({ length: 490 }, () => Buffer.from(header)), Buffer.alloc(filler)])
    expect(memoryOf(nested)).toBeLessThan(300e6)
  })

  it('that nest without end do not overflow the stack', () => {
    for (const wrap of [[0x91], [0x81, 0xa1, 0x61], [0xdc, 0, 1], [0xd4, 0x73]]) {
      expect(() => decodeValue(Buffer.concat(Array(200_000).fill(Buffer.from(wrap)) as Buffer[]))).toThrow(
        MalformedDataError,
      )
    }
  })

  it('that nest deeper than a value may are malformed, before the stack has a say', () => {
    const wraps = [[0x91], [0x81, 0xa1, 0x61], [0xc9, 0, 0, 0, 0, 0x73, 0x91]]
    for (const wrap of wraps) {
      const nested = (levels: number) => bytesOf(...Array<number[]>(levels).fill(wrap), 0xc0)
      expect(() => decodeValue(nested(501))).toThrow(/levels deep/)
      if (wrap[0] !== 0xc9) expect(() => decodeValue(nested(500))).not.toThrow()
    }
  })

  it('cannot refer from one value of a batch to an object of another', () => {
    const reference = [0xd6, 0x72, 0, 0, 0, 1]
    expect(decodeBatch(bytesOf(0x91, [0x92, 0x90], reference))).toEqual([[[], []]])
    expect(() => decodeBatch(bytesOf(0x92, [0x91, 0x90], [0x91, ...reference]))).toThrow(MalformedDataError)
  })

  it('that double at every level, by references, stay as small as they are', () => {
    let bytes = bytesOf(0x90)
    for (let level = 1; level <= 400; level++)
      bytes = bytesOf(0x92, [...bytes], 0xd6, 0x72, [0, 0, 0x01, level === 400 ? 0x00 : 0x01])
    const started = performance.now()
    tryDecoding(bytes, decodeValue)
    expect(performance.now() - started).toBeLessThan(30_000)
  })

  it.each([
    ['a reference to nothing', [0xd6, 0x72, 0, 0, 0, 0]],
    ['a reference to what comes later', [0x92, 0xd6, 0x72, 0, 0, 0, 1, 0x90]],
    ['a RegExp that is none', [0xc7, 4, 0x78, 0x92, 0xa1, 0x28, 0xa0]],
    ['a RegExp with flags that are none', [0xc7, 5, 0x78, 0x92, 0xa1, 0x61, 0xa1, 0x61]],
    ['a typed array of an unknown kind', [0xd5, 0x74, 0xff, 1]],
    ['a typed array with half an element', [0xd5, 0x74, 0x08, 1]],
    ['a typed array without a kind', [0xc7, 0, 0x74]],
    ['a BigInt without digits', [0xd4, 0x62, 0]],
    ['a Date of the wrong size', [0xd6, 0x64, 0, 0, 0, 0]],
    ['an error that is no list', [0xd4, 0x65, 0xc0]],
    ['an error with an object for its name', [0xc7, 5, 0x65, 0x94, 0x80, 0xa0, 0xc0, 0xc0]],
    ['a hole outside of a list', [0xd4, 0x00, 0x01]],
    ['a hole in a Set', [0xc7, 4, 0x73, 0x91, 0xd4, 0x00, 0x01]],
    ['a key that is a number', [0x81, 0x01, 0x01]],
    ['a key that is a list', [0x81, 0x90, 0x01]],
    ['an extension that is longer than its content', [0xc7, 3, 0x73, 0x91, 0x01, 0x01]],
    ['an extension that is shorter than its content', [0xc7, 1, 0x73, 0x91, 0x01]],
    ['an unknown extension', [0xd4, 0x7a, 0x00]],
    ['the byte that begins nothing', [0xc1]],
    ['nothing', []],
  ])('with %s are malformed', (_, bytes) => {
    expect(() => decodeValue(Buffer.from(bytes))).toThrow(MalformedDataError)
  })

  it('name no class: an error of any name is one of the built-in errors', () => {
    for (const name of ['Function', 'constructor', '__proto__', 'valueOf', 'toString', 'AggregateError', 'process']) {
      const bytes = encodeValue(Object.defineProperty(new Error('m'), 'name', { value: name }))
      const error = decodeValue(bytes) as Error
      expect(Object.getPrototypeOf(error)).toBe(Error.prototype)
      expect([error.name, error.message]).toEqual([name, 'm'])
      mustBePlain(error)
    }
  })

  it('cannot set a prototype, by a key in whatever form', () => {
    const polluting = [0x81, 0xa8, ...Buffer.from('polluted'), 0xc3]
    const proto = [...Buffer.from('__proto__')]
    const wide = proto.flatMap(byte => [byte, 0])
    for (const key of [
      [0xa9, ...proto],
      [0xd9, 9, ...proto],
      [0xda, 0, 9, ...proto],
      [0xc7, 18, 0x75, ...wide],
    ]) {
      const value = decodeValue(bytesOf(0x81, key, polluting)) as Record<string, unknown>
      expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
      expect(value['polluted']).toBeUndefined()
      expect(Object.keys(value)).toEqual(['__proto__'])
    }
  })

  it('of a megabyte each are read in seconds, whatever they are full of', () => {
    const megabyte = 1_000_000
    for (const part of [
      [0x80],
      [0xd4, 0, 1],
      [0xa0],
      [0xd4, 0x62, 0],
      [0xc7, 6, 0x65, 0x94, 0xa0, 0xa0, 0xc0, 0xc0],
      [0xc7, 2, 0x6d, 0x80],
    ]) {
      const count = Math.floor(megabyte / part.length)
      const body = Buffer.alloc(count * part.length, Buffer.from(part))
      const header = Buffer.from([0xdd, 0, 0, 0, 0])
      header.writeUInt32BE(count, 1)
      const started = performance.now()
      try {
        decodeValue(Buffer.concat([header, body]))
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedDataError)
      }
      expect(performance.now() - started).toBeLessThan(10_000)
    }
  })
})
