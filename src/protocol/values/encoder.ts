import { types } from 'node:util'
import { UnencodableValueError, ValueTooLargeError } from '../../errors.ts'
import { ByteWriter } from './byte-writer.ts'
import { extension, maxDepth, maxHoles, views } from './format.ts'

/** How many objects of one value are found by looking through a list, before a Map is worth its making. */
const listedObjects = 16

const viewKinds = new Map<unknown, number>(views.map((view, kind) => [view.prototype, kind]))

/** Writes values, checking in the same walk that each can travel. One encoder makes one buffer. */
export class ValueEncoder {
  readonly #out: ByteWriter
  /** The objects of the current value in the order in which they begin; beyond `listedObjects` they are in `#numbers`. */
  readonly #listed: object[] = []
  #count = 0
  #numbers: Map<object, number> | undefined

  constructor(expectedBytes: number, limitBytes: number) {
    this.#out = new ByteWriter(expectedBytes, limitBytes)
  }

  /** @throws {UnencodableValueError | ValueTooLargeError} */
  value(value: unknown): Buffer {
    try {
      this.#write(value, 0)
    } catch (error) {
      throw publicError(error)
    }
    return this.#out.finish()
  }

  /**
   * Writes the values from `first` up to the end, or up to the first that cannot travel. Each value is a world of its
   * own: an object that is in two of them is written twice.
   */
  batch(values: readonly unknown[], first: number): { bytes: Buffer; end: number; error?: Error } {
    const out = this.#out
    const header = out.position
    out.openArray()
    let end = first
    let start = out.position
    try {
      for (; end < values.length; end++) {
        const value = values[end]
        if (typeof value === 'number') {
          out.number(value)
        } else {
          start = out.position
          this.#count = 0
          this.#numbers = undefined
          this.#write(value, 0)
        }
      }
    } catch (error) {
      out.rewind(start)
      out.closeArray(header, end - first)
      return { bytes: out.finish(), end, error: publicError(error) }
    }
    out.closeArray(header, end - first)
    return { bytes: out.finish(), end }
  }

  #write(value: unknown, depth: number): void {
    switch (typeof value) {
      case 'number':
        return this.#out.number(value)
      case 'string':
        return this.#out.string(value)
      case 'object':
        return value === null ? this.#out.byte(0xc0) : this.#object(value, depth)
      case 'boolean':
        return this.#out.byte(value ? 0xc3 : 0xc2)
      case 'undefined':
        return this.#absent(0)
      case 'bigint':
        return this.#out.bigint(value)
      case 'function':
        throw new Offence('is a function', 'leave it out, or send data that says which function of the task module to call')
      case 'symbol':
        throw new Offence('is a symbol', 'leave it out, or send a string in its place')
    }
  }

  #object(value: object, depth: number): void {
    const number = this.#seen(value)
    if (number >= 0) {
      this.#out.extensionHeader(extension.reference, 4)
      return this.#out.uint32(number)
    }
    if (depth >= maxDepth) {
      throw new Offence(`lies more than ${maxDepth} levels deep`, 'send a flatter form of it, such as a list of nodes')
    }
    if (Array.isArray(value)) return this.#array(value, depth)
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype === Object.prototype || prototype === null) return this.#plainObject(value, depth)
    this.#special(value, prototype as object, depth)
  }

  /** The number of an object that this value has already, else -1 and it has a number from now on. */
  #seen(value: object): number {
    if (this.#numbers !== undefined) {
      const number = this.#numbers.get(value)
      if (number !== undefined) return number
      this.#numbers.set(value, this.#numbers.size)
      return -1
    }
    const listed = this.#listed
    const count = this.#count
    for (let i = 0; i < count; i++) if (listed[i] === value) return i
    if (count < listedObjects) {
      listed[count] = value
      this.#count = count + 1
    } else {
      this.#numbers = new Map(listed.map((object, i) => [object, i]))
      this.#numbers.set(value, count)
    }
    return -1
  }

  #array(array: readonly unknown[], depth: number): void {
    const { length } = array
    this.#out.arrayHeader(length)
    let holes = 0
    let i = 0
    try {
      for (; i < length; i++) {
        const item = array[i]
        if (item === undefined && !(i in array)) {
          if (++holes > maxHoles) throw new SparseArray()
          this.#absent(1)
        } else {
          this.#write(item, depth + 1)
        }
      }
    } catch (error) {
      throw within(error, `[${i}]`)
    }
  }

  #plainObject(object: object, depth: number): void {
    const keys = Object.keys(object)
    this.#out.mapHeader(keys.length)
    const record = object as Record<string, unknown>
    let key = ''
    try {
      for (let i = 0; i < keys.length; i++) {
        key = keys[i]!
        this.#out.string(key)
        this.#write(record[key], depth + 1)
      }
    } catch (error) {
      throw within(error, property(key))
    }
    const symbols = Object.getOwnPropertySymbols(object)
    if (symbols.length > 0) throw within(new Offence('is under a symbol', 'use a string as the key'), `[${String(symbols[0])}]`)
  }

  #absent(kind: number): void {
    this.#out.extensionHeader(extension.absent, 1)
    this.#out.byte(kind)
  }
  #special(value: object, prototype: object, depth: number): void { throw new Offence('x', 'y') }
}
class Offence extends Error { 
  path = ''
  constructor(what: string, cure: string) { super(what + cure) }
}
class SparseArray extends Error {}
function within(e: unknown, s: string): unknown { if (e instanceof Offence) e.path = s + e.path; return e }
function property(k: string): string { return '.' + k }
function publicError(e: unknown): Error { return e as Error }
