import { describe, expect, it } from 'vitest'
import { UnencodableValueError, ValueTooLargeError } from '../../src/errors.ts'
import { decodeValue, encodeValue } from '../../src/protocol/values.ts'

function refusal(value: unknown): UnencodableValueError {
  try {
    encodeValue(value)
  } catch (error) {
    if (error instanceof UnencodableValueError) return error
    throw error
  }
  throw new Error('the value was encoded')
}

class Point {
  x = 1
}

class Bag extends Map<string, number> {}

const nothing = (): undefined => undefined

describe('what cannot travel is refused', () => {
  it.each([
    ['a function', nothing, 'is a function'],
    ['a class', Point, 'is a function'],
    ['a symbol', Symbol('s'), 'is a symbol'],
    ['an instance of a class', new Point(), 'is an instance of Point'],
    ['a subclass of Map', new Bag(), 'is an instance of Bag'],
    ['a subclass of Array', new (class List extends Array<number> {})(), 'is an instance of List'],
    ['a subclass of Uint8Array', new (class Bytes extends Uint8Array {})(2), 'is an instance of Bytes'],
    [
      'a subclass of Buffer',
      Object.setPrototypeOf(Buffer.alloc(1), Object.create(Buffer.prototype as object) as object),
      'is an instance of',
    ],
    ['an object with another for its prototype', Object.create({ a: 1 }), 'is an instance of a class'],
    [
      'a Promise',
      Promise.resolve(1),
      'is an instance of Promise, which cannot travel to another process; await it first.',
    ],
    ['a WeakMap', new WeakMap(), 'is an instance of WeakMap'],
    ['a SharedArrayBuffer', new SharedArrayBuffer(1), 'is an instance of SharedArrayBuffer'],
    ['a boxed number', Object(5), 'is an instance of Number'],
    ['an iterator', [1].values(), 'is an instance of'],
    ['a URL', new URL('http://localhost'), 'is an instance of URL'],
  ])('%s', (_, value: unknown, what) => {
    const error = refusal(value)
    expect(error.message).toContain(`$ ${what}`)
    expect(error.path).toBe('$')
    expect(error.code).toBe('VALUE_NOT_ENCODABLE')
  })

  it.each([
    [{ rows: [1, 2, 3, { onClick: nothing }] }, '$.rows[3].onClick'],
    [{ byId: new Map([['x', nothing]]) }, '$.byId.get("x")'],
    [new Map([[5, [nothing]]]), '$.get(5)[0]'],
    [new Map([[{}, nothing]]), '$.values(0)'],
    [new Map([[nothing, 1]]), '$.keys(0)'],
    [{ tags: new Set([1, 2, nothing]) }, '$.tags{2}'],
    [{ 'a key': { '': nothing } }, '$["a key"][""]'],
    [Object.defineProperty({}, '__proto__', { value: nothing, enumerable: true }), '$.__proto__'],
    [new Error('e', { cause: { f: nothing } }), '$.cause.f'],
    [new AggregateError([1, nothing]), '$.errors[1]'],
    [{ [Symbol('key')]: 1 }, '$[Symbol(key)]'],
    [[{ a: { [Symbol.iterator]: 1 } }], '$[0].a[Symbol(Symbol.iterator)]'],
    [[...Array<number>(100).fill(1), 'a', nothing], '$[101]'],
  ])('with the path of the offending place: %#', (value, path) => {
    const error = refusal(value)
    expect(error.path).toBe(path)
    expect(error.message.startsWith(`${path} `)).toBe(true)
  })

  it('when a getter, or a proxy, throws: with what it threw as the cause', () => {
    const boom = new Error('boom')
    const throwing = {
      get total(): number {
        throw boom
      },
    }
    const error = refusal({ order: throwing })
    expect([error.path, error.cause]).toEqual(['$.order.total', boom])
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    expect(refusal([1, [proxy]]).path).toBe('$[1][0]')
  })

  it('when a buffer was transferred away', () => {
    const bytes = new Uint8Array(4)
    structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
    expect(refusal({ bytes }).path).toBe('$.bytes')
  })

  it('when a collection changes while it is read', () => {
    const set = new Set<unknown>()
    set.add({
      get grow() {
        return set.add({})
      },
    })
    expect(refusal({ set }).path).toBe('$.set')
  })

  it('when it is nested too deep, at any width, and short of that it travels', () => {
    for (const wrap of [
      (inside: unknown) => [inside],
      (inside: unknown) => ({ inside }),
      (inside: unknown) => new Map([[1, inside]]),
      (inside: unknown) => new Set([inside]),
      (inside: unknown) => new Error('e', { cause: inside }),
    ]) {
      let value: unknown = 1
      for (let i = 0; i < 500; i++) value = wrap(value)
      expect(() => decodeValue(encodeValue(value))).not.toThrow()
      expect(refusal(wrap(value)).message).toContain('more than 500 levels deep')
      for (let i = 0; i < 5000; i++) value = wrap(value)
      expect(refusal(value).path.length).toBeLessThan(400)
    }
  })

  it('when a list has too many holes, without walking through all of them', () => {
    const list: number[] = []
    list[4_000_000_000] = 1
    const error = refusal({ list })
    expect(error.path).toBe('$.list')
    expect(error.message).toContain('holes')
  })

  it('with a message of bounded length', () => {
    const key = 'k'.repeat(100_000)
    expect(refusal({ [key]: { [key]: nothing } }).message.length).toBeLessThan(600)
    expect(refusal(new Map([[key, nothing]])).message.length).toBeLessThan(400)
  })

  it('also when a proxy of a list lies about its length, or is believed in whole numbers', () => {
    const proxyWith = (length: unknown) =>
      new Proxy([1, 2, 3], { get: (list, key) => (key === 'length' ? length : Reflect.get(list, key)) as unknown })
    for (const length of [-1, 1.5, 'x', NaN, undefined, 2]) {
      const encoded = (() => {
        try {
          return encodeValue([proxyWith(length), 'next'])
        } catch (error) {
          expect(error).toBeInstanceOf(UnencodableValueError)
          return undefined
        }
      })()
      if (encoded !== undefined) expect((decodeValue(encoded) as unknown[])[1]).toBe('next')
    }
  })
})

describe('a value beyond the limit', () => {
  it('is refused as too large, whatever takes the room', () => {
    for (const value of [
      'x'.repeat(2000),
      Buffer.alloc(2000),
      Array(2000).fill(1),
      Array(1000).fill('ab'),
      { a: 'é'.repeat(1500) },
    ]) {
      expect(() => encodeValue(value, { limitBytes: 1000 })).toThrow(ValueTooLargeError)
      expect(encodeValue(value, { limitBytes: 10_000 }).length).toBeGreaterThan(1000)
    }
  })

  it('is said to be of at least the size it has', () => {
    expect(() => encodeValue({ a: Buffer.alloc(2000) }, { limitBytes: 1000 })).toThrow(
      expect.objectContaining({ code: 'VALUE_TOO_LARGE', limitBytes: 1000, valueBytes: expect.any(Number) as number }),
    )
  })

  it('ends the walk through what never ends', () => {
    const endless = (): object => ({ next: new Proxy([], { get: (_, key) => (key === 'length' ? 1000 : endless()) }) })
    expect(() => encodeValue(endless(), { limitBytes: 100_000 })).toThrow(/levels deep|travel in one piece/)
  })
})
