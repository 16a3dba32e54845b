import { types } from 'node:util'
import { ByteWriter } from './byte-writer.ts'
import { extension, maxDepth, maxHoles, views } from './format.ts'
import {
  isFunction,
  isInstance,
  isSymbol,
  isSymbolKey,
  mapStep,
  Offence,
  propertyStep,
  publicError,
  within,
} from './offence.ts'

/** How many objects of one value are found by looking through a list, before a Map is worth making. */
const listedObjects = 16

/** Writes values, and in the same walk makes sure that each can travel. One encoder makes one buffer. */
export class ValueEncoder {
  readonly #out: ByteWriter
  /** The objects of the value being written, in the order in which they begin. */
  readonly #listed: object[] = []
  #listedCount = 0
  /** Their numbers, once there are more than the list is for. */
  #numbers: Map<object, number> | undefined

  constructor(expectedBytes: number, limitBytes: number) {
    this.#out = new ByteWriter(expectedBytes, limitBytes)
  }

  /** @throws {UnencodableValueError | ValueTooLargeError} */
  value(value: unknown, depth: number): Buffer {
    try {
      this.#write(value, depth)
    } catch (error) {
      throw publicError(error)
    }
    return this.#out.finish()
  }

  /**
   * Writes the values from `first` up to the end, or up to the one that cannot travel. Each value is a world of its
   * own: an object that is part of two values is written twice.
   */
  batch(values: readonly unknown[], first: number, depth: number): { bytes: Buffer; end: number; error?: Error } {
    const out = this.#out
    const opened = out.openArray()
    let start = out.position
    let end = first
    let failure: { error?: Error } = {}
    try {
      for (; end < values.length; end++) {
        end = out.numbers(values, end, values.length)
        if (end === values.length) break
        start = out.position
        this.#listedCount = 0
        this.#numbers = undefined
        this.#write(values[end], depth)
      }
    } catch (error) {
      out.rewind(start)
      failure = { error: publicError(error) }
    }
    out.closeArray(opened, end - first)
    return { bytes: out.finish(), end, ...failure }
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
        throw isFunction()
      case 'symbol':
        throw isSymbol()
    }
  }

  #absent(kind: number): void {
    this.#out.extensionHeader(extension.absent, 1)
    this.#out.byte(kind)
  }

  #object(value: object, depth: number): void {
    const number = this.#numberOf(value)
    if (number >= 0) {
      this.#out.extensionHeader(extension.reference, 4)
      return this.#out.uint32(number)
    }
    if (depth >= maxDepth) {
      throw new Offence(`lies more than ${maxDepth} levels deep`, 'send a flatter form, such as a list of nodes')
    }
    const prototype = Object.getPrototypeOf(value) as object | null
    if (Array.isArray(value)) return this.#array(value, depth, prototype)
    if (prototype === Object.prototype || prototype === null) return this.#plainObject(value, depth)
    this.#special(value, depth, prototype)
  }

  /** The number of an object that was met before in this value; else -1, and it has a number from now on. */
  #numberOf(value: object): number {
    const numbers = this.#numbers
    if (numbers !== undefined) {
      const number = numbers.get(value)
      if (number !== undefined) return number
      numbers.set(value, numbers.size)
      return -1
    }
    const listed = this.#listed
    const count = this.#listedCount
    for (let i = 0; i < count; i++) if (listed[i] === value) return i
    listed[count] = value
    this.#listedCount = count + 1
    if (count === listedObjects) this.#numbers = new Map(listed.map((object, i) => [object, i]))
    return -1
  }

  #array(array: readonly unknown[], depth: number, prototype: object | null): void {
    if (prototype !== Array.prototype && !isBuiltIn(prototype, 1)) throw isInstance(prototype ?? array)
    // The length is read once and made an integer, because that of a proxy may be anything and change.
    const length = array.length >>> 0
    this.#out.arrayHeader(length)
    let holes = 0
    let i = 0
    try {
      for (; i < length; i++) {
        i = this.#out.numbers(array, i, length)
        if (i === length) break
        const item = array[i]
        if (item !== undefined || i in array) this.#write(item, depth + 1)
        else if (++holes <= maxHoles) this.#absent(1)
        else break
      }
    } catch (error) {
      throw within(error, `[${i}]`)
    }
    if (holes > maxHoles) throw new Offence(`is an array with more than ${maxHoles} holes`, 'send a Map or an object')
  }

  #plainObject(object: object, depth: number): void {
    const keys = Object.keys(object)
    const record = object as Readonly<Record<string, unknown>>
    this.#out.mapHeader(keys.length)
    let key = ''
    try {
      for (key of keys) {
        this.#out.string(key)
        this.#write(record[key], depth + 1)
      }
    } catch (error) {
      throw within(error, propertyStep(key))
    }
    const symbols = Object.getOwnPropertySymbols(object)
    if (symbols.length > 0) throw isSymbolKey(symbols[0])
  }

  /** Built-in classes. They are known by what they are, not by `instanceof`: under some test runners they come from another realm. */
  #special(value: object, depth: number, prototype: object): void {
    if (types.isNativeError(value) || value instanceof Error) this.#error(value, depth)
    else if (Buffer.isBuffer(value) && isBuiltIn(prototype, 3)) this.#buffer(value)
    else if (ArrayBuffer.isView(value) && isBuiltIn(prototype, types.isDataView(value) ? 1 : 2))
      this.#view(value, prototype)
    else if (!isBuiltIn(prototype, 1)) {
      if (!isObjectPrototype(prototype)) throw isInstance(prototype)
      this.#plainObject(value, depth)
    } else if (types.isDate(value)) this.#date(value)
    else if (types.isMap(value)) this.#map(value, depth)
    else if (types.isSet(value)) this.#set(value, depth)
    else if (types.isRegExp(value)) this.#regexp(value)
    else if (types.isArrayBuffer(value)) this.#arrayBuffer(value)
    else throw isInstance(prototype)
  }

  #map(map: ReadonlyMap<unknown, unknown>, depth: number): void {
    const opened = this.#out.openExtension(extension.map)
    const { size } = map
    this.#out.mapHeader(size)
    let i = 0
    for (const [key, value] of map) {
      try {
        this.#write(key, depth + 1)
      } catch (error) {
        throw within(error, `.keys(${i})`)
      }
      try {
        this.#write(value, depth + 1)
      } catch (error) {
        throw within(error, mapStep(key, i))
      }
      if (++i > size) break
    }
    if (i !== size) throw changedMeanwhile()
    this.#out.closeExtension(opened)
  }

  #set(set: ReadonlySet<unknown>, depth: number): void {
    const opened = this.#out.openExtension(extension.set)
    const { size } = set
    this.#out.arrayHeader(size)
    let i = 0
    for (const item of set) {
      try {
        this.#write(item, depth + 1)
      } catch (error) {
        throw within(error, `{${i}}`)
      }
      if (++i > size) break
    }
    if (i !== size) throw changedMeanwhile()
    this.#out.closeExtension(opened)
  }

  /** Instances of any class of error travel, and come back as plain errors with that name: like `structuredClone`. */
  #error(error: Error, depth: number): void {
    const out = this.#out
    const opened = out.openExtension(extension.error)
    const hasCause = Object.hasOwn(error, 'cause')
    const { name, message, stack } = error as { readonly [key in keyof Error]: unknown }
    out.arrayHeader(hasCause ? 5 : 4)
    out.string(typeof name === 'string' ? name : 'Error')
    out.string(typeof message === 'string' ? message : '')
    this.#write(typeof stack === 'string' ? stack : null, depth)
    let step = '.errors'
    try {
      const errors = error instanceof AggregateError ? (error.errors as unknown) : undefined
      this.#write(Array.isArray(errors) ? errors : null, depth + 1)
      step = '.cause'
      if (hasCause) this.#write(error.cause, depth + 1)
    } catch (thrown) {
      throw within(thrown, step)
    }
    out.closeExtension(opened)
  }

  #date(date: Date): void {
    this.#out.extensionHeader(extension.date, 8)
    this.#out.float64(date.getTime())
  }

  #regexp({ source, flags }: RegExp): void {
    const opened = this.#out.openExtension(extension.regexp)
    this.#out.arrayHeader(2)
    this.#out.string(source)
    this.#out.string(flags)
    this.#out.closeExtension(opened)
  }

  #buffer(buffer: Buffer): void {
    const bytes = bytesOf(buffer)
    this.#out.binaryHeader(bytes.length)
    this.#out.copy(bytes)
  }

  #arrayBuffer(buffer: ArrayBuffer): void {
    const bytes = new Uint8Array(buffer)
    this.#out.extensionHeader(extension.arrayBuffer, bytes.length)
    this.#out.copy(bytes)
  }

  #view(view: ArrayBufferView, prototype: object): void {
    const name = types.isDataView(view) ? 'DataView' : (view as Uint8Array)[Symbol.toStringTag]
    const kind = views.findIndex(known => known.name === name)
    if (kind < 0) throw isInstance(prototype)
    const bytes = bytesOf(view)
    this.#out.extensionHeader(extension.view, bytes.length + 1)
    this.#out.byte(kind)
    this.#out.copy(bytes)
  }
}

/** @throws {TypeError} when the buffer was transferred to another thread, so that its bytes are gone. */
function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}

/** Whether a prototype is as many steps from its realm's `Object.prototype` as a built-in's is: those of subclasses are further. */
function isBuiltIn(prototype: object | null, steps: number): boolean {
  let ancestor = prototype
  for (let i = 0; i < steps && ancestor !== null; i++) ancestor = Object.getPrototypeOf(ancestor) as object | null
  return ancestor !== null && isObjectPrototype(ancestor)
}

/** Whether this is the `Object.prototype` of this realm or of another. */
function isObjectPrototype(prototype: object): boolean {
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'isPrototypeOf')
}

function changedMeanwhile(): Offence {
  return new Offence('changed while it was read', 'send a copy that nothing changes')
}
