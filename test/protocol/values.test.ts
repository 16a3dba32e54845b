import { deepStrictEqual, strictEqual } from 'node:assert'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { pack, unpack } from 'msgpackr'
import { describe, expect, it } from 'vitest'
import { MalformedDataError } from '../../src/errors.ts'
import { decodeValue, encodeValue } from '../../src/protocol/values.ts'
import { graphs, sameGraph, strings, values } from './values-arbitraries.ts'

function roundTrip(value: unknown): unknown {
  return decodeValue(encodeValue(value))
}

function withHoles(): unknown[] {
  const list: unknown[] = [1]
  list[3] = undefined
  list[5] = 'a'
  list.length = 9
  return list
}

describe('what travels', () => {
  it('arrives as structuredClone would copy it', () => {
    fc.assert(
      fc.property(values, value => {
        const copy = structuredClone(value)
        deepStrictEqual(roundTrip(value), copy)
        strictEqual(sameGraph(roundTrip(value), copy), true)
      }),
      { numRuns: 1500 },
    )
  })

  it('keeps its cycles and shared references, among few objects and many', () => {
    fc.assert(
      fc.property(graphs, value => {
        strictEqual(sameGraph(value, roundTrip(value)), true)
      }),
      { numRuns: 1000 },
    )
  })

  it('keeps every string, lone surrogates included', () => {
    fc.assert(
      fc.property(strings, string => {
        strictEqual(roundTrip(string), string)
        deepStrictEqual(roundTrip({ [string]: string }), { [string]: string })
      }),
      { numRuns: 1500 },
    )
  })

  it.each([0, 1, 15, 16, 31, 32, 40, 41, 255, 256, 257, 1024, 1025, 65_535, 65_536, 500_000])(
    'keeps strings of %i units in every alphabet',
    length => {
      for (const unit of ['a', 'é', '漢', '\u{1f600}', '\udc00']) {
        const string = unit.repeat(length).slice(0, length)
        strictEqual(roundTrip(string), string)
        strictEqual(roundTrip(`\ufeff${string}é`), `\ufeff${string}é`)
      }
    },
  )

  it('keeps every number, −0 included', () => {
    const edges = [0, 1, 0x20, 0x80, 0x100, 0x8000, 0x10000, 2 ** 31, 2 ** 32, 2 ** 53]
    const around = edges.flatMap(edge => [edge - 1, edge, edge + 1, edge + 0.5].flatMap(number => [number, -number]))
    for (const number of [...around, NaN, Infinity, -Infinity, 5e-324, Number.MAX_VALUE]) {
      expect(roundTrip(number)).toBe(number)
    }
  })

  it('keeps BigInts of any size', () => {
    for (const bits of [0n, 1n, 62n, 63n, 64n, 65n, 127n, 1000n, 100_000n]) {
      for (const value of [(1n << bits) - 1n, 1n << bits, (1n << bits) + 1n]) {
        strictEqual(roundTrip(value), value)
        strictEqual(roundTrip(-value), -value)
      }
    }
  })

  it.each([
    ['dates', [new Date(1_700_000_000_123), new Date(-1), new Date(8.64e15)]],
    ['RegExps', [/a[/]b|\p{L}/giu, new RegExp(''), /\n/y]],
    ['holes in lists', [withHoles(), new Array(5)]],
    [
      'a Map with keys of all kinds',
      new Map<unknown, unknown>([
        [{ a: 1 }, [1]],
        [NaN, -0],
        [undefined, null],
        [1n, 1],
      ]),
    ],
    ['a Set', new Set<unknown>([1, 'a', null, undefined, NaN, { a: 1 }])],
    ['empty things', [[], {}, new Map(), new Set(), '', new Uint8Array(), new ArrayBuffer(0), Buffer.alloc(0)]],
    ['a long list', Array.from({ length: 70_000 }, (_, i) => (i % 3 ? i : `${i}`))],
    ['a wide object', Object.fromEntries(Array.from({ length: 70_000 }, (_, i) => [`key${i}`, i]))],
    ['a large Map', new Map(Array.from({ length: 70_000 }, (_, i) => [i, [i]]))],
    ['keys that look like numbers', { 4294967295: 'a', 1: 'b', '-1': 'c', '01': 'd' }],
  ])('keeps %s', (_, value) => {
    deepStrictEqual(roundTrip(value), value)
  })

  it('keeps a Date that is invalid', () => {
    expect((roundTrip(new Date(NaN)) as Date).getTime()).toBeNaN()
  })

  it('keeps the order of keys', () => {
    expect(Object.keys(roundTrip({ b: 1, a: 2, c: 3 }) as object)).toEqual(['b', 'a', 'c'])
  })

  it.each([
    Int8Array,
    Uint8Array,
    Uint8ClampedArray,
    Int16Array,
    Uint16Array,
    Int32Array,
    Uint32Array,
    Float32Array,
    Float64Array,
    BigInt64Array,
    BigUint64Array,
    DataView,
    Buffer,
  ])('keeps the class and the bytes of a %o', View => {
    const memory = Uint8Array.from({ length: 64 }, (_, i) => i * 37).buffer
    const view = View === Buffer ? Buffer.from(memory, 8, 4) : new (View as Uint8ArrayConstructor)(memory, 8, 4)
    const arrived = roundTrip([1, view]) as [number, Uint8Array]
    deepStrictEqual(arrived[1], view)
    strictEqual(Object.getPrototypeOf(arrived[1]), Object.getPrototypeOf(view))
  })

  it.each([0, 1, 15, 255, 256, 65_534, 65_535, 65_536, 3_000_000])('keeps %i bytes', length => {
    const bytes = Buffer.alloc(length, 'abc')
    deepStrictEqual(roundTrip(bytes), bytes)
    deepStrictEqual(roundTrip(new Uint8Array(bytes)), new Uint8Array(bytes))
    deepStrictEqual(roundTrip(new Uint8Array(bytes).buffer), new Uint8Array(bytes).buffer)
  })

  it('shares no memory with the bytes, nor with the value', () => {
    for (const original of [Buffer.alloc(8, 1), new Uint8Array(8).fill(1), Buffer.alloc(8192, 1)]) {
      const bytes = encodeValue(original)
      const arrived = decodeValue(bytes) as Uint8Array
      bytes.fill(2)
      original.fill(3)
      expect(arrived.every(byte => byte === 1)).toBe(true)
    }
  })

  it('copies what a view shows of a SharedArrayBuffer', () => {
    const shared = new SharedArrayBuffer(16)
    const view = new Uint16Array(shared, 4, 3)
    view.set([1, 2, 300])
    const arrived = decodeValue(encodeValue(view)) as Uint16Array
    view[0] = 7
    expect(arrived).toEqual(new Uint16Array([1, 2, 300]))
    expect(arrived.buffer).toBeInstanceOf(ArrayBuffer)
  })

  it('takes any Uint8Array for the bytes, at any offset', () => {
    const bytes = encodeValue({ a: [1.5, 'b'] })
    const elsewhere = new Uint8Array(bytes.length + 3)
    elsewhere.set(bytes, 3)
    deepStrictEqual(decodeValue(elsewhere.subarray(3)), { a: [1.5, 'b'] })
  })

  it('keeps an own key __proto__ without touching any prototype', () => {
    const value: unknown = JSON.parse('{"__proto__": {"polluted": true}, "constructor": {"prototype": 1}}')
    const arrived = roundTrip(value) as object
    deepStrictEqual(Object.getOwnPropertyDescriptor(arrived, '__proto__')?.value, { polluted: true })
    strictEqual(Object.getPrototypeOf(arrived), Object.prototype)
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
    deepStrictEqual(arrived, value)
  })

  it('turns objects without a prototype and getters into ordinary objects and fields', () => {
    const bare = Object.assign(Object.create(null) as object, { a: 1 })
    const computed = {
      get b() {
        return 2
      },
    }
    deepStrictEqual(roundTrip([bare, computed]), [{ a: 1 }, { b: 2 }])
  })

  it('does not ask for toJSON', () => {
    deepStrictEqual(roundTrip({ date: new Date(5), toJSON: 1 }), { date: new Date(5), toJSON: 1 })
  })

  it('takes objects of another realm for what they are', () => {
    const foreign: unknown = runInNewContext(
      '({ list: [1], map: new Map([[1, 2]]), set: new Set([1]), date: new Date(5), error: new TypeError("t"), bytes: new Uint8Array(2) })',
    )
    const { error, ...rest } = roundTrip(foreign) as { error: Error }
    const map = new Map([[1, 2]])
    deepStrictEqual(rest, { list: [1], map, set: new Set([1]), date: new Date(5), bytes: new Uint8Array(2) })
    expect(error).toBeInstanceOf(TypeError)
  })
})

describe('an Error as a value', () => {
  it('keeps its name, message, stack and cause, and the class if it is a built-in one', () => {
    const error = new TypeError('outer', { cause: new RangeError('inner', { cause: { code: 7 } }) })
    const arrived = roundTrip(error) as TypeError
    expect(arrived).toBeInstanceOf(TypeError)
    expect(arrived.stack).toBe(error.stack)
    const cause = arrived.cause as RangeError
    expect(cause).toBeInstanceOf(RangeError)
    expect([arrived.message, cause.message, cause.cause]).toEqual(['outer', 'inner', { code: 7 }])
    expect(Object.keys(arrived)).toEqual([])
  })

  it('becomes a plain Error with its name, if its class is a user’s', () => {
    class PaymentError extends Error {
      override name = 'PaymentError'
    }
    const arrived = roundTrip(new PaymentError('no funds')) as Error
    strictEqual(Object.getPrototypeOf(arrived), Error.prototype)
    expect([arrived.name, arrived.message, 'cause' in arrived]).toEqual(['PaymentError', 'no funds', false])
    expect(Object.keys(arrived)).toEqual([])
  })

  it('keeps the errors of an AggregateError', () => {
    const arrived = roundTrip(new AggregateError([new Error('a'), 'b'], 'both')) as AggregateError
    expect(arrived.name).toBe('AggregateError')
    expect(arrived.errors).toEqual([new Error('a'), 'b'])
  })

  it('may be its own cause', () => {
    const error = new Error('round')
    error.cause = { error }
    const arrived = roundTrip(error) as Error & { cause: { error: Error } }
    strictEqual(arrived.cause.error, arrived)
  })

  it('travels when its fields are of the wrong type', () => {
    const error = Object.assign(new Error(), { name: 5, message: {}, stack: undefined })
    const arrived = roundTrip(error) as Error
    expect([arrived.name, arrived.message, arrived.stack]).toEqual(['Error', '', undefined])
  })
})

describe('the bytes', () => {
  it('are MessagePack that other implementations read, and the other way round', () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: 'grapheme', maxDepth: 4 }), value => {
        // The other implementation renames `__proto__` and writes −0, which JSON does not have, as 0.
        const json = JSON.stringify(value)
        const plain: unknown = json.includes('__proto__') ? null : JSON.parse(json)
        deepStrictEqual(unpack(encodeValue(plain)), plain)
        deepStrictEqual(decodeValue(pack(plain)), plain)
      }),
      { numRuns: 1000 },
    )
  })

  it.each([
    [12, '0c'],
    [-1, 'ff'],
    [300, 'cd012c'],
    [1.5, 'cb3ff8000000000000'],
    [4_294_967_295, 'ceffffffff'],
    ['ab', 'a26162'],
    [{ a: [true, null] }, '81a16192c3c0'],
    [undefined, 'd40000'],
    [7n, 'd30000000000000007'],
    [new Date(0), 'd7640000000000000000'],
    [new Set([1]), 'c9000000027391' + '01'],
    [Buffer.from('hi'), 'c4026869'],
    [new Uint8Array([1]), 'c702740101'],
  ])('of %o are %s, in this and every later version', (value, hex) => {
    expect(encodeValue(value).toString('hex')).toBe(hex)
    deepStrictEqual(decodeValue(Buffer.from(hex, 'hex')), value)
  })

  it('take little more memory than they are long', () => {
    for (const value of [Buffer.alloc(1_000_000), { a: Buffer.alloc(1_000_000), b: [1, 2] }, 'x'.repeat(1_000_000)]) {
      const bytes = encodeValue(value)
      expect(bytes.buffer.byteLength).toBeLessThan(bytes.length * 1.7)
    }
  })

  it('must be one whole value', () => {
    const bytes = encodeValue({ rows: [1, 'two', 3.5] })
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeValue(bytes.subarray(0, length))).toThrow(MalformedDataError)
    }
    expect(() => decodeValue(Buffer.concat([bytes, bytes]))).toThrow(MalformedDataError)
  })
})
