import { maxValueBytes } from './format.ts'

/** How many parts of a value an estimate looks at, in all, of one list and of one object, and how deep. */
const looks = 1000
const looksPerList = 16
const looksPerObject = 64
const deepest = 8

/** What a value is taken for that was not looked at, and what an object takes besides its content. */
const unseenBytes = 9
const objectBytes = 16

/**
 * About how many bytes a value takes, for dividing work by bytes. It looks at a bounded number of parts and reckons the
 * rest from them, so a list of very unequal things may be well off; a thing that occurs twice counts twice. It never
 * throws, and never says more than the largest value that may travel. Getters run.
 */
export function valueBytesEstimate(value: unknown): number {
  if (typeof value !== 'object' || value === null) return scalarBytes(value)
  try {
    return Math.min(maxValueBytes, Math.ceil(new Estimate().of(value)))
  } catch {
    // A getter or a proxy threw. Encoding the value will say so, and where.
    return unseenBytes
  }
}

function scalarBytes(value: unknown): number {
  switch (typeof value) {
    case 'number':
      return (value | 0) !== value ? 9 : value >= -0x20 && value < 0x80 ? 1 : 5
    case 'string':
      return value.length + (value.length < 0x20 ? 1 : 5)
    case 'bigint':
      return BigInt.asIntN(64, value) === value ? 9 : objectBytes + value.toString(16).length / 2
    default:
      return 3
  }
}

class Estimate {
  #looks = looks
  /** The objects around the one being looked at, to end at a cycle. */
  readonly #around: object[] = []

  of(value: unknown): number {
    this.#looks--
    if (typeof value !== 'object' || value === null) return scalarBytes(value)
    if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return value.byteLength + objectBytes
    if (this.#looks < 0 || this.#around.length >= deepest || this.#around.includes(value)) return unseenBytes
    this.#around.push(value)
    const bytes = this.#content(value)
    this.#around.pop()
    return bytes
  }

  #content(object: object): number {
    if (Array.isArray(object)) return this.#list(object)
    if (object instanceof Date) return 10
    if (object instanceof Map)
      return objectBytes + this.#first(object.keys(), object.size) + this.#first(object.values(), object.size)
    if (object instanceof Set) return objectBytes + this.#first(object.values(), object.size)
    if (object instanceof RegExp) return objectBytes + object.source.length
    if (object instanceof Error)
      return objectBytes + object.message.length + (object.stack?.length ?? 0) + this.of(object.cause)
    return this.#fields(object as Readonly<Record<string, unknown>>)
  }

  /** Looks at items that are spread evenly over the list, because lists are often sorted. */
  #list(list: readonly unknown[]): number {
    const { length } = list
    const seen = Math.min(length, looksPerList)
    let bytes = 0
    for (let i = 0; i < seen; i++) bytes += this.of(list[Math.floor((i * length) / seen)])
    return 5 + inProportion(bytes, seen, length)
  }

  #fields(object: Readonly<Record<string, unknown>>): number {
    const keys = Object.keys(object)
    const seen = Math.min(keys.length, looksPerObject)
    let bytes = 0
    for (const key of keys.slice(0, seen)) bytes += scalarBytes(key) + this.of(object[key])
    return 3 + inProportion(bytes, seen, keys.length)
  }

  #first(items: Iterable<unknown>, size: number): number {
    let seen = 0
    let bytes = 0
    for (const item of items) {
      if (seen === looksPerList) break
      bytes += this.of(item)
      seen++
    }
    return inProportion(bytes, seen, size)
  }
}

function inProportion(bytes: number, seen: number, count: number): number {
  return seen === count ? bytes : (bytes / seen) * count
}
