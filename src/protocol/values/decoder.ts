import { ByteReader } from './byte-reader.ts'
import { extension, maxDepth, nativeErrors, views } from './format.ts'

/**
 * Reads values from bytes that nobody vouches for. No memory is taken ahead of the bytes that fill it, no name from the
 * bytes is looked up, and what is made is plain data and built-ins from a closed list.
 */
export class ValueDecoder {
  readonly #in: ByteReader
  /** The objects of the value being read, in the order in which they begin: what references count. */
  readonly #objects: object[] = []
  #objectCount = 0

  constructor(bytes: Uint8Array, givenAway = false) {
    this.#in = new ByteReader(bytes, givenAway)
  }

  value(): unknown {
    const value = this.#read(0)
    this.#mustBeAtEnd()
    return value
  }

  batch(): unknown[] {
    const length = this.#arrayHeader()
    const values: unknown[] = []
    while (values.length < length) {
      this.#in.numbers(values, length)
      if (values.length === length) break
      this.#objectCount = 0
      values.push(this.#read(0))
    }
    this.#mustBeAtEnd()
    return values
  }

  #mustBeAtEnd(): void {
    if (!this.#in.atEnd) throw this.#in.malformed('bytes are left over')
  }

  #read(depth: number): unknown {
    const token = this.#in.byte()
    if (token < 0x80) return token
    if (token >= 0xe0) return token - 0x100
    if (token < 0x90) return this.#object(token & 0x0f, depth)
    if (token < 0xa0) return this.#array(token & 0x0f, depth)
    if (token < 0xc0) return this.#in.text(token & 0x1f)
    switch (token) {
      case 0xc0:
        return null
      case 0xc2:
        return false
      case 0xc3:
        return true
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.#buffer(this.#size(token - 0xc4))
      case 0xca:
        return this.#in.float32()
      case 0xcb:
        return this.#in.float64()
      case 0xcc:
        return this.#in.byte()
      case 0xcd:
        return this.#in.uint16()
      case 0xce:
        return this.#in.uint32()
      case 0xcf:
        return this.#in.uint64()
      case 0xd0:
        return this.#in.int8()
      case 0xd1:
        return this.#in.int16()
      case 0xd2:
        return this.#in.int32()
      case 0xd3:
        return this.#in.int64()
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#in.text(this.#size(token - 0xd9))
      case 0xdc:
      case 0xdd:
        return this.#array(this.#size(token - 0xdb), depth)
      case 0xde:
      case 0xdf:
        return this.#object(this.#size(token - 0xdd), depth)
      case 0xc1:
        throw this.#in.malformed('0xc1 begins no value')
      default:
        return this.#extension(this.#extensionSize(token), depth)
    }
  }

  /** A size of 8, 16 or 32 bits. */
  #size(width: number): number {
    if (width === 0) return this.#in.byte()
    return width === 1 ? this.#in.uint16() : this.#in.uint32()
  }

  /** Extensions have tokens of their own for 1, 2, 4, 8 and 16 bytes. */
  #extensionSize(token: number): number {
    return token >= 0xd4 ? 1 << (token - 0xd4) : this.#size(token - 0xc7)
  }

  #begin<T extends object>(object: T): T {
    this.#objects[this.#objectCount++] = object
    return object
  }

  #mustNotBeTooDeep(depth: number): void {
    if (depth >= maxDepth) throw this.#in.malformed(`it is nested more than ${maxDepth} levels deep`)
  }

  #array(length: number, depth: number): unknown[] {
    this.#mustNotBeTooDeep(depth)
    this.#in.mustHold(length)
    const array = this.#begin<unknown[]>([])
    while (array.length < length) {
      this.#in.numbers(array, length)
      if (array.length === length) break
      if (this.#in.skipHole()) array.length++
      else array.push(this.#read(depth + 1))
    }
    return array
  }

  #object(size: number, depth: number): object {
    this.#mustNotBeTooDeep(depth)
    this.#in.mustHold(size * 2)
    const object = this.#begin<Record<string, unknown>>({})
    for (let i = 0; i < size; i++) {
      const key = this.#key()
      const value = this.#read(depth + 1)
      // Assigning to `__proto__` would set the prototype.
      if (key === '__proto__') define(object, key, value, true)
      else object[key] = value
    }
    return object
  }

  #key(): string {
    const token = this.#in.peek() ?? 0
    if (token > 0xa0 && token < 0xc0) {
      this.#in.byte()
      return this.#in.key(token & 0x1f)
    }
    return this.#string()
  }

  /** A value that has to be a string. It is one of two forms, and neither contains other values. */
  #string(): string {
    const token = this.#in.peek() ?? 0
    const isText = (token >= 0xa0 && token < 0xc0) || (token >= 0xd9 && token <= 0xdb)
    const value = isText || isExtension(token) ? this.#read(maxDepth) : undefined
    if (typeof value !== 'string') throw this.#in.malformed('a string was expected')
    return value
  }

  /** The length of an array that is part of a form, and not itself an object. */
  #arrayHeader(): number {
    const token = this.#in.byte()
    const length =
      token >= 0x90 && token < 0xa0 ? token & 0x0f : token === 0xdc || token === 0xdd ? this.#size(token - 0xdb) : -1
    if (length < 0) throw this.#in.malformed('an array was expected')
    this.#in.mustHold(length)
    return length
  }

  #mapHeader(): number {
    const token = this.#in.byte()
    const size =
      token >= 0x80 && token < 0x90 ? token & 0x0f : token === 0xde || token === 0xdf ? this.#size(token - 0xdd) : -1
    if (size < 0) throw this.#in.malformed('a map was expected')
    this.#in.mustHold(size * 2)
    return size
  }

  #buffer(length: number): Buffer {
    return this.#begin(this.#in.buffer(length))
  }

  #extension(size: number, depth: number): unknown {
    const type = this.#in.byte()
    this.#in.mustHold(size)
    const end = this.#in.position + size
    const value = this.#extended(type, size, depth)
    if (this.#in.position !== end) throw this.#in.malformed('an extension is not as long as it says')
    return value
  }

  #extended(type: number, size: number, depth: number): unknown {
    switch (type) {
      case extension.absent:
        if (this.#in.byte() !== 0) throw this.#in.malformed('a hole is not in an array')
        return undefined
      case extension.reference:
        return this.#reference()
      case extension.date:
        return this.#begin(new Date(this.#in.float64()))
      case extension.map:
        return this.#map(depth)
      case extension.set:
        return this.#set(depth)
      case extension.error:
        return this.#error(depth)
      case extension.view:
        return this.#view(size - 1)
      case extension.arrayBuffer:
        return this.#begin(this.#in.arrayBuffer(size))
      case extension.bigint:
        return this.#bigint(size - 1)
      case extension.regexp:
        return this.#regexp()
      case extension.utf16:
        return this.#in.utf16(size)
      default:
        throw this.#in.malformed(`extension type ${type} is unknown`)
    }
  }

  #reference(): object {
    const number = this.#in.uint32()
    const object = number < this.#objectCount ? this.#objects[number] : undefined
    if (object === undefined) throw this.#in.malformed('a reference to an object that is not before it')
    return object
  }

  #map(depth: number): Map<unknown, unknown> {
    this.#mustNotBeTooDeep(depth)
    const map = this.#begin(new Map<unknown, unknown>())
    const size = this.#mapHeader()
    for (let i = 0; i < size; i++) {
      const key = this.#read(depth + 1)
      map.set(key, this.#read(depth + 1))
    }
    return map
  }

  #set(depth: number): Set<unknown> {
    this.#mustNotBeTooDeep(depth)
    const set = this.#begin(new Set<unknown>())
    const length = this.#arrayHeader()
    for (let i = 0; i < length; i++) set.add(this.#read(depth + 1))
    return set
  }

  #error(depth: number): Error {
    this.#mustNotBeTooDeep(depth)
    const parts = this.#arrayHeader()
    if (parts !== 4 && parts !== 5) throw this.#in.malformed('an error has 4 or 5 parts')
    const name = this.#string()
    const error = this.#begin(new (nativeErrors.get(name) ?? Error)(this.#string()))
    if (error.name !== name) define(error, 'name', name, false)
    define(error, 'stack', this.#in.peek() === 0xc0 ? (this.#read(depth) ?? undefined) : this.#string(), false)
    const errors = this.#read(depth + 1)
    if (errors !== null) define(error, 'errors', errors, false)
    if (parts === 5) define(error, 'cause', this.#read(depth + 1), false)
    return error
  }

  #view(length: number): ArrayBufferView {
    const View = views[this.#in.byte()]
    if (View === undefined) throw this.#in.malformed('a typed array of unknown kind')
    return this.#begin(new View(this.#in.arrayBuffer(length)))
  }

  #bigint(length: number): bigint {
    const negative = this.#in.byte() !== 0
    const magnitude = BigInt(`0x${this.#in.hex(length)}`)
    return negative ? -magnitude : magnitude
  }

  #regexp(): RegExp {
    if (this.#arrayHeader() !== 2) throw this.#in.malformed('a RegExp has 2 parts')
    const source = this.#string()
    return this.#begin(new RegExp(source, this.#string()))
  }
}

function isExtension(token: number): boolean {
  return (token >= 0xc7 && token <= 0xc9) || (token >= 0xd4 && token <= 0xd8)
}

function define(object: object, key: string, value: unknown, enumerable: boolean): void {
  Object.defineProperty(object, key, { value, enumerable, writable: true, configurable: true })
}
