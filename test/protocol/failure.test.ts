import { deepStrictEqual, strictEqual } from 'node:assert'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { describeFailure, reviveFailure } from '../../src/protocol/failure.ts'
import { decodeValue, encodeValue } from '../../src/protocol/values.ts'
import { graphs, values } from './values-arbitraries.ts'

const maxRecordBytes = 64 * 1024

/** What a driver gets of what a worker caught. */
function travelled(thrown: unknown): Error & Record<string, unknown> {
  const bytes = encodeValue(describeFailure(thrown))
  expect(bytes.length).toBeLessThanOrEqual(maxRecordBytes)
  return reviveFailure(decodeValue(bytes)) as Error & Record<string, unknown>
}

function fieldsOf(error: Error): object {
  return Object.fromEntries(Object.entries(error))
}

class HttpError extends Error {
  override name = 'HttpError'
  status = 503
  headers = { 'retry-after': '5' }
  retry = () => undefined
}

describe('an error', () => {
  it('keeps its name, message, stack and the fields that can travel, and is a plain Error', () => {
    const thrown = new HttpError('unavailable')
    const error = travelled(thrown)
    strictEqual(Object.getPrototypeOf(error), Error.prototype)
    expect([error.name, error.message, error.stack]).toEqual(['HttpError', 'unavailable', thrown.stack])
    deepStrictEqual(fieldsOf(error), { status: 503, headers: { 'retry-after': '5' } })
    expect(String(error)).toBe('HttpError: unavailable')
  })

  it('of a built-in class is a plain Error with that name', () => {
    const error = travelled(new TypeError('t'))
    strictEqual(Object.getPrototypeOf(error), Error.prototype)
    expect(error.name).toBe('TypeError')
    expect(Object.keys(error)).toEqual([])
  })

  it('keeps the fields of system errors', () => {
    const thrown = Object.assign(new Error('ENOENT: no such file'), {
      errno: -2,
      code: 'ENOENT',
      syscall: 'open',
      path: '/x',
    })
    deepStrictEqual(fieldsOf(travelled(thrown)), { errno: -2, code: 'ENOENT', syscall: 'open', path: '/x' })
  })

  it('keeps its causes, five deep', () => {
    let thrown = new Error('level 0')
    for (let level = 1; level <= 9; level++) thrown = new Error(`level ${level}`, { cause: thrown })
    const messages: string[] = []
    for (let error: unknown = travelled(thrown); error instanceof Error; error = error.cause)
      messages.push(error.message)
    expect(messages).toEqual(['level 9', 'level 8', 'level 7', 'level 6', 'level 5', 'level 4'])
  })

  it('keeps a cause that is no error, undefined too', () => {
    deepStrictEqual(travelled(new Error('e', { cause: { code: 1 } })).cause, { code: 1 })
    const error = travelled(new Error('e', { cause: undefined }))
    expect(['cause' in error, error.cause]).toEqual([true, undefined])
    expect('cause' in travelled(new Error('e'))).toBe(false)
  })

  it('keeps the first errors of an AggregateError', () => {
    const many = Array.from({ length: 50 }, (_, i) => (i === 1 ? 'a string' : new Error(`error ${i}`)))
    const error = travelled(new AggregateError(many, 'all failed'))
    const errors = error['errors'] as unknown[]
    expect([error.name, error.message, errors.length, errors[1]]).toEqual([
      'AggregateError',
      'all failed',
      10,
      'a string',
    ])
    expect((errors[2] as Error).message).toBe('error 2')
  })

  it('ends at its own cycles', () => {
    const thrown = new AggregateError([], 'round') as AggregateError & { self?: unknown }
    thrown.cause = thrown
    thrown.errors = [thrown, thrown]
    thrown.self = thrown
    expect(travelled(thrown).message).toBe('round')
  })

  it('is a DOMException too, with its name', () => {
    expect(travelled(new DOMException('stopped', 'AbortError'))).toMatchObject({
      name: 'AbortError',
      message: 'stopped',
    })
  })

  it('may have parts of the wrong type', () => {
    const error = travelled(Object.assign(new Error('m'), { name: 5, message: { a: 1 }, stack: null, errors: 'none' }))
    expect([error.name, error.message, error.stack]).toEqual(['Error', '', 'Error: '])
  })

  it('shows no stack of ours when it has none', () => {
    const thrown = new RangeError('too far')
    delete thrown.stack
    expect(travelled(thrown).stack).toBe('RangeError: too far')
  })

  it('cannot pass fields that break the revived one', () => {
    const fields = { toString: 1, constructor: 2, hasOwnProperty: 3, ['__proto__']: { polluted: 1 }, fine: 4 }
    const thrown = new Error('m')
    for (const [key, value] of Object.entries(fields)) {
      Object.defineProperty(thrown, key, { value, enumerable: true })
    }
    deepStrictEqual(describeFailure(thrown), {
      kind: 'error',
      name: 'Error',
      message: 'm',
      stack: thrown.stack,
      fields: { fine: 4 },
    })
    const error = reviveFailure({
      kind: 'error',
      name: 'Error',
      message: 'm',
      stack: '',
      fields: { ...fields, stack: 5 },
    })
    deepStrictEqual(fieldsOf(error), { fine: 4 })
    expect([String(error), error.stack]).toEqual(['Error: m', 'Error: m'])
  })
})

describe('a record is bounded', () => {
  const long = 'é'.repeat(100_000)

  it('with a message of 8 KB and a stack of 16 KB', () => {
    const thrown = new Error(long)
    thrown.stack = `Error: ${long}`
    const { message, stack } = travelled(thrown)
    for (const [text, limit] of [
      [message, 8192],
      [stack ?? '', 16_384],
    ] as const) {
      expect(Buffer.byteLength(text)).toBeLessThanOrEqual(limit)
      expect(Buffer.byteLength(text)).toBeGreaterThan(limit - 8)
      expect(text.endsWith('é…')).toBe(true)
    }
  })

  it('but nothing is cut off that fits', () => {
    for (const length of [8191, 8192]) expect(travelled(new Error('x'.repeat(length))).message).toBe('x'.repeat(length))
    expect(travelled(new Error('x'.repeat(8193))).message).toBe(`${'x'.repeat(8189)}…`)
  })

  it('whatever is long, many or deep in it', () => {
    const large = (depth: number): Error => {
      const error = new AggregateError(depth > 0 ? Array.from({ length: 12 }, () => large(depth - 1)) : [], long, {
        cause: depth > 0 ? large(depth - 1) : long,
      })
      error.stack = long
      Object.assign(error, { [long]: 1 })
      for (let i = 0; i < 50; i++) Object.assign(error, { [`field ${i}`]: long.slice(0, i * 100) })
      return error
    }
    const { message, cause } = travelled(large(2))
    expect([message.length, cause]).toEqual([expect.any(Number), expect.any(Error)])
    const { cause: inner } = travelled(
      new Error(long, { cause: new Error('inner', { cause: new Error('root cause') }) }),
    )
    expect((inner as Error).cause).toMatchObject({ message: 'root cause' })
  })

  it('with text of any alphabet, lone surrogates made well-formed', () => {
    for (const unit of ['漢', '\u{1f600}', '\udc00', 'a\ud800']) {
      const { message } = travelled(new Error(unit.repeat(20_000)))
      expect(Buffer.byteLength(message)).toBeLessThanOrEqual(8192)
      expect(Buffer.from(message).toString()).toBe(message)
    }
    expect(travelled(new Error('a\ud800')).message).toBe('a\ufffd')
  })

  it('with fields that lie so deep that the record itself could not travel left out', () => {
    let deep: unknown = 1
    for (let i = 0; i < 495; i++) deep = [deep]
    deepStrictEqual(fieldsOf(travelled(Object.assign(new Error('m'), { deep, flat: 1 }))), { flat: 1 })
    expect(travelled(deep).message).toContain('not an Error')
  })
})

describe('a thrown value that is no error', () => {
  it.each([
    ['text', 'a string', `'a string'`],
    ['undefined', undefined, 'undefined'],
    ['an object', { code: 42 }, '{ code: 42 }'],
    ['a Map', new Map([[1, 2]]), 'Map(1) { 1 => 2 }'],
  ])('arrives as the cause of an error that says so: %s', (_, thrown, brief) => {
    const error = travelled(thrown)
    deepStrictEqual(error.cause, thrown)
    expect(error.message).toBe(`The task threw a value that is not an Error: ${brief}`)
    expect(error.stack).toBe(`Error: ${error.message}`)
  })

  it.each([
    ['a function', travelled, '[Function: travelled]'],
    ['a symbol', Symbol('s'), 'Symbol(s)'],
    [
      'an instance of a class',
      new (class Problem {
        code = 5
      })(),
      'Problem { code: 5 }',
    ],
    ['an object with a function', { code: 5, f: () => 1 }, '{ code: 5, f: [Function: f] }'],
  ])('arrives as a description when it cannot travel: %s', (_, thrown: unknown, brief) => {
    strictEqual(travelled(thrown).cause, brief)
  })

  it('is cut short when it is long', () => {
    const error = travelled('x'.repeat(100_000))
    expect((error.cause as string).length).toBeGreaterThan(4000)
    expect(error.message.length).toBeLessThan(500)
    expect(typeof travelled(Array(100_000).fill('x')).cause).toBe('string')
  })
})

describe('nothing that is thrown', () => {
  const boom = (): never => {
    throw new Error('boom')
  }
  const trapped = new Proxy(new Error('inside'), {
    get: boom,
    has: boom,
    ownKeys: boom,
    getPrototypeOf: boom,
    getOwnPropertyDescriptor: boom,
  })
  const { proxy: revoked, revoke } = Proxy.revocable({}, {})
  revoke()
  const throwing = (name: string) => Object.defineProperty(new Error('m'), name, { get: boom, enumerable: true })

  it.each<[string, unknown]>([
    ['a proxy whose traps throw', trapped],
    ['a revoked proxy', revoked],
    ['an object with methods that throw', { toString: boom, valueOf: boom, toJSON: boom, [Symbol.toPrimitive]: boom }],
    [
      'an object with a getter that throws',
      {
        get a() {
          return boom()
        },
      },
    ],
    [
      'an object whose class has a name that throws',
      Object.create(Object.defineProperty({}, 'constructor', { get: boom })),
    ],
    ['an object whose tag throws', Object.create(Object.defineProperty({}, Symbol.toStringTag, { get: boom }))],
    ...['name', 'message', 'stack', 'cause', 'errors', 'field'].map((name): [string, unknown] => [
      `an error with ${name} that throws`,
      throwing(name),
    ]),
    ['an error with errors that throw', Object.assign(new Error('m'), { errors: new Proxy([1, 2], { get: boom }) })],
    ['an error with a revoked cause', new Error('m', { cause: revoked })],
    ['an error with proxies for fields', Object.assign(new Error('m'), { a: trapped, b: revoked })],
  ])('can make describing it throw: %s', (_, thrown) => {
    const error = travelled(thrown)
    expect(error).toBeInstanceOf(Error)
    expect(error.message).not.toBe('boom')
  })

  it('can make describing it throw, or the record too large: anything at all', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.anything({ withBoxedValues: true }),
          values,
          graphs,
          fc.object().map(o => Object.assign(new Error('m'), o)),
        ),
        thrown => {
          expect(travelled(thrown)).toBeInstanceOf(Error)
        },
      ),
      { numRuns: 1000 },
    )
  })
})

describe('a record that is none', () => {
  it('becomes an error all the same', () => {
    fc.assert(
      fc.property(fc.oneof(values, graphs, fc.anything()), record => {
        const error = reviveFailure(record)
        expect(error).toBeInstanceOf(Error)
        expect(typeof error.stack).toBe('string')
      }),
      { numRuns: 1000 },
    )
  })

  it('becomes an error with what parts of it are right', () => {
    const error = reviveFailure({
      kind: 'error',
      name: 7,
      message: 'm',
      stack: {},
      errors: [1],
      fields: [1, 2],
      cause: null,
    }) as AggregateError
    expect([error.name, error.message, error.stack]).toEqual(['Error', 'm', 'Error: m'])
    expect((error.cause as Error).message).toContain('malformed')
    expect((error.errors as Error[])[0]?.message).toContain('malformed')
  })

  it('ends when it contains itself many times over', () => {
    const record: Record<string, unknown> = { kind: 'error', name: 'E', message: 'm', stack: '' }
    record['cause'] = record
    record['errors'] = Array(10_000).fill(record)
    expect(reviveFailure(record).message).toBe('m')
  })

  it('pollutes no prototype', () => {
    const fields: unknown = JSON.parse('{"__proto__": {"polluted": 1}, "constructor": {"prototype": {"polluted": 1}}}')
    const error = reviveFailure({ kind: 'error', name: '__proto__', message: 'm', stack: '', fields }) as Error &
      Record<string, unknown>
    expect([error['polluted'], ({} as Record<string, unknown>)['polluted']]).toEqual([undefined, undefined])
    strictEqual(Object.getPrototypeOf(error), Error.prototype)
  })
})
