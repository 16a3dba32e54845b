import { MalformedDataError } from '../../errors.ts'
import { extension, maxDepth, nativeErrors, views } from './format.ts'

/** How many keys of objects are remembered, so that the same key is not made anew for every object. */
const rememberedKeys = 256

/**
 * Reads values from bytes that nobody vouches for. Nothing is allocated ahead of the bytes that fill it, nothing in the
 * bytes is looked up by name, and every object made is a plain one or a built-in from a closed list.
 */
export class ValueDecoder {
  readonly #bytes: Buffer
  readonly #view: DataView
  readonly #end: number
  #position = 0
  #objects: unknown[] = []
  #count = 0
  #keys: (string | undefined)[] | undefined

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#end = bytes.byteLength
  }

  value(): unknown {
    const value = this.#read(0)
    this.#finish()
    return value
  }

  batch(): unknown[] {
    const token = this.#byte()
    let length = 0
    if (token === 0xdd) length = this.#uint32()
    else throw malformed('a batch does not begin with its length')
    this.#mustHold(length)
    const values: unknown[] = []
    for (let i = 0; i < length; i++) {
      this.#count = 0
      values.push(this.#read(0))
    }
    this.#finish()
    return values
  }

  #finish(): void {
    if (this.#position !== this.#end) throw malformed('bytes are left over')
  }

  #byte(): number {
    if (this.#position >= this.#end) throw malformed('it ends too early')
    return this.#bytes[this.#position++]!
  }

  #uint32(): number {
    const value = this.#view.getUint32(this.#position)
    this.#position += 4
    return value
  }
  #uint16(): number {
    const value = this.#view.getUint16(this.#position)
    this.#position += 2
    return value
  }

  #mustHold(bytes: number): void {
    if (bytes > this.#end - this.#position) throw malformed('it ends too early')
  }

  #read(depth: number): unknown {
    if (this.#position >= this.#end) throw malformed('it ends too early')
    const token = this.#bytes[this.#position++]!
    if (token < 0x80) return token
    if (token >= 0xe0) return token - 0x100
    if (token < 0x90) return this.#object(token & 0xf, depth)
    if (token < 0xa0) return this.#array(token & 0xf, depth)
    if (token < 0xc0) return this.#string(token & 0x1f)
    const start = this.#position
    switch (token) {
      case 0xc0:
        return null
      case 0xc2:
        return false
      case 0xc3:
        return true
      case 0xca:
        this.#position = start + 4
        return this.#view.getFloat32(start)
      case 0xcb:
        this.#position = start + 8
        return this.#view.getFloat64(start)
      case 0xcc:
        return this.#byte()
      case 0xcd:
        this.#position = start + 2
        return this.#view.getUint16(start)
      case 0xce:
        this.#position = start + 4
        return this.#view.getUint32(start)
      case 0xd0:
        this.#position = start + 1
        return this.#view.getInt8(start)
      case 0xd1:
        this.#position = start + 2
        return this.#view.getInt16(start)
      case 0xd2:
        this.#position = start + 4
        return this.#view.getInt32(start)
      case 0xcf:
        this.#position = start + 8
        return this.#view.getBigUint64(start)
      case 0xd3:
        this.#position = start + 8
        return this.#view.getBigInt64(start)
      case 0xd9: return this.#string(this.#byte())
      case 0xda: return this.#string(this.#uint16())
      case 0xdb: return this.#string(this.#uint32())
      case 0xdc: return this.#array(this.#uint16(), depth)
      case 0xdd: return this.#array(this.#uint32(), depth)
      case 0xde: return this.#object(this.#uint16(), depth)
      case 0xdf: return this.#object(this.#uint32(), depth)
    }
    throw malformed('unknown token')
  }

  #string(length: number): string {
    const start = this.#position
    const end = start + length
    if (end > this.#end) throw malformed('it ends too early')
    this.#position = end
    const bytes = this.#bytes
    if (length < MODE_LIMIT) {
      let text = ''
      let i = start
      for (; i < end; i++) {
        const b = bytes[i]!
        if (b >= 0x80) break
        text += String.fromCharCode(b)
      }
      if (i === end) return text
    }
    return bytes.toString('utf8', start, end)
  }

  #array(length: number, depth: number): unknown[] {
    this.#mustHold(length)
    const array: unknown[] = []
    this.#objects[this.#count++] = array
    for (let i = 0; i < length; i++) array.push(this.#read(depth + 1))
    return array
  }

  #object(size: number, depth: number): object {
    this.#mustHold(size * 2)
    const object: Record<string, unknown> = {}
    this.#objects[this.#count++] = object
    for (let i = 0; i < size; i++) {
      const key = this.#key()
      const value = this.#read(depth + 1)
      if (key === '__proto__') Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true })
      else object[key] = value
    }
    return object
  }

  #key(): string {
    const token = this.#byte()
    if (token >= 0xa0 && token < 0xc0) {
      const length = token & 0x1f
      const start = this.#position
      this.#mustHold(length)
      if (length === 0) return ''
      const bytes = this.#bytes
      const keys = (this.#keys ??= new Array<string | undefined>(rememberedKeys))
      const slot = (length * 31 + bytes[start]! * 7 + bytes[start + length - 1]! ) & 0xff
      const known = keys[slot]
      if (known !== undefined && known.length === length) {
        let i = 0
        while (i < length && known.charCodeAt(i) === bytes[start + i]) i++
        if (i === length) { this.#position = start + length; return known }
      }
      const s = this.#string(length)
      if (s.length === length) keys[slot] = s
      return s
    }
    throw malformed('key')
  }
}
const MODE_LIMIT = Number(process.env['ML'] ?? 12)
function malformed(m: string) { return new MalformedDataError(m) }
