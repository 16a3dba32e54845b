import fc from 'fast-check'

/** Strings of any UTF-16 units, lone surrogates too, mixed with plain ones. */
export const strings: fc.Arbitrary<string> = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary', maxLength: 80 }),
  fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 60 }).map(units => String.fromCharCode(...units)),
  fc.tuple(fc.string({ minLength: 1, maxLength: 4 }), fc.integer({ min: 1, max: 2000 })).map(([s, n]) => s.repeat(n)),
)

const numbers = fc.oneof(
  fc.double(),
  fc.integer(),
  fc.maxSafeInteger(),
  fc.constantFrom(-0, 0, NaN, Infinity, -Infinity),
)

export const keys = fc.oneof(strings, fc.constantFrom('__proto__', 'constructor', 'toString', 'length', '0', ''))

const leaves: fc.Arbitrary<unknown> = fc.oneof(
  numbers,
  strings,
  fc.boolean(),
  fc.constantFrom(null, undefined),
  fc.bigInt(),
  fc.bigInt({ min: -(1n << 300n), max: 1n << 300n }),
  fc.date({ noInvalidDate: true }),
  fc.uint8Array(),
  fc.uint8ClampedArray(),
  fc.int16Array(),
  fc.uint32Array(),
  fc.float32Array(),
  fc.float64Array(),
  fc.bigInt64Array(),
  fc.uint8Array().map(bytes => bytes.buffer.slice(0)),
  fc.uint8Array().map(bytes => new DataView(bytes.buffer)),
  fc.constantFrom(/a+/g, /[/\]]/imsuy, new RegExp('')),
  fc.sparseArray(fc.integer(), { maxNumElements: 5, maxLength: 50 }),
)

/** Any value that travels, without cycles. */
export const values: fc.Arbitrary<unknown> = fc.letrec<{ value: unknown }>(tie => {
  const inside = tie('value')
  const depth = { depthIdentifier: 'value', maxLength: 12, maxKeys: 12 }
  return {
    value: fc.oneof(
      { maxDepth: 5, depthIdentifier: 'value', depthSize: 'small' },
      leaves,
      fc.array(inside, depth),
      fc.dictionary(keys, inside, { ...depth, noNullPrototype: false }),
      fc.array(fc.tuple(inside, inside), depth).map(entries => new Map(entries)),
      fc.array(inside, depth).map(items => new Set(items)),
      fc.record({ message: strings, cause: inside }).map(({ message, cause }) => new RangeError(message, { cause })),
    ),
  }
}).value

/** Objects that refer to one another at random: with cycles, and with the same object in several places. */
export const graphs: fc.Arbitrary<unknown> = fc
  .array(
    fc.record({
      kind: fc.constantFrom('array', 'object', 'map', 'set', 'date', 'buffer', 'error'),
      links: fc.array(fc.nat(60), { maxLength: 5 }),
    }),
    { minLength: 1, maxLength: 60 },
  )
  .map(nodes => {
    const objects = nodes.map(({ kind }) => emptyObject(kind))
    nodes.forEach(({ links }, i) => {
      for (const link of links) addLink(objects[i]!, objects[link % objects.length]!)
    })
    return objects[0]
  })

function emptyObject(kind: string): object {
  if (kind === 'array') return []
  if (kind === 'map') return new Map()
  if (kind === 'set') return new Set()
  if (kind === 'date') return new Date(0)
  if (kind === 'buffer') return new Uint8Array([1, 2])
  if (kind === 'error') return new TypeError('a node')
  return {}
}

function addLink(from: object, to: object): void {
  if (Array.isArray(from)) from.push(to)
  else if (from instanceof Map) from.set(to, from.size).set(from.size, to)
  else if (from instanceof Set) from.add(to)
  else if (from instanceof Error) from.cause = to
  else if (!(from instanceof Date) && !ArrayBuffer.isView(from)) {
    const object = from as Record<string, object>
    object[`to${Object.keys(object).length}`] = to
  }
}

/**
 * Whether two values have the same shape as graphs: each object of one stands for exactly one of the other. Equality
 * in the sense of `isDeepStrictEqual` does not see whether two equal parts are one object.
 */
export function sameGraph(left: unknown, right: unknown): boolean {
  const partners = new Map<object, object>()
  const taken = new Set<object>()
  const pairs: [unknown, unknown][] = [[left, right]]
  for (const [a, b] of pairs) {
    if (typeof a !== 'object' || a === null || typeof b !== 'object' || b === null) {
      if (!Object.is(a, b)) return false
      continue
    }
    if (partners.has(a) || taken.has(b)) {
      if (partners.get(a) !== b) return false
      continue
    }
    partners.set(a, b)
    taken.add(b)
    const [ofA, ofB] = [partsOf(a), partsOf(b)]
    if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b) || ofA.length !== ofB.length) return false
    ofA.forEach((part, i) => pairs.push([part, ofB[i]]))
  }
  return true
}

/** What an object consists of, in order. */
export function partsOf(object: object): unknown[] {
  if (object instanceof Map) return [...object].flat()
  if (object instanceof Set) return [...object]
  if (object instanceof Date) return [object.getTime()]
  if (object instanceof RegExp) return [object.source, object.flags]
  if (object instanceof Error) {
    const { errors } = object as Error & { errors?: unknown }
    return [object.name, object.message, object.stack, object.cause, errors]
  }
  if (object instanceof ArrayBuffer) return [...new Uint8Array(object)]
  if (ArrayBuffer.isView(object)) return [...new Uint8Array(object.buffer, object.byteOffset, object.byteLength)]
  const fields: unknown[] = Object.entries(object).flat()
  return [...fields, Array.isArray(object) ? object.length : 0]
}
