import { isAscii } from 'node:buffer'
import { MalformedDataError } from '../../errors.ts'
import { extension } from './format.ts'

/** Strings up to this length are built unit by unit; for longer ones a native call is faster. */
const shortText = 15

const keySlots = 64

/** A view keeps so many bytes more alive than it shows, at most: a few headers. */
const slackBytes = 128

/** Reads scalars, strings and sizes from bytes that nobody vouches for: each read is checked against the end. */
export class ByteReader {
  readonly #bytes: Buffer
  readonly #view: DataView
  readonly #end: number
  #position = 0
  /** The last key in each slot, so that the same key is not made anew for each of a thousand objects. */
  #keys: (string | undefined)[] | undefined
  readonly #givenAway: boolean

  /** `givenAway`: nobody else reads the bytes, now or later. */
  constructor(bytes: Uint8Array, givenAway = false) {
    this.#givenAway = givenAway
    const { buffer, byteOffset, byteLength } = bytes
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(buffer, byteOffset, byteLength)
    this.#view = new DataView(buffer, byteOffset, byteLength)
    this.#end = byteLength
  }

  get position(): number {
    return this.#position
  }

  get atEnd(): boolean {
    return this.#position === this.#end
  }

  /** The byte that will be read next, or undefined at the end. */
  peek(): number | undefined {
    return this.#bytes[this.#position]
  }

  /** Passes over a hole of an array, if one is next. */
  skipHole(): boolean {
    const start = this.#position
    const bytes = this.#bytes
    if (bytes[start] !== 0xd4 || bytes[start + 1] !== extension.absent || bytes[start + 2] !== 1) return false
    this.#position = start + 3
    return true
  }

  /** @throws {MalformedDataError} unless that many bytes are left: what takes memory is checked before it is made. */
  mustHold(bytes: number): void {
    if (bytes > this.#end - this.#position) throw this.malformed('it ends too early')
  }

  byte(): number {
    if (this.#position >= this.#end) throw this.malformed('it ends too early')
    return this.#bytes[this.#position++]!
  }

  uint16(): number {
    const value = this.#view.getUint16(this.#position)
    this.#position += 2
    return value
  }

  uint32(): number {
    const value = this.#view.getUint32(this.#position)
    this.#position += 4
    return value
  }

  int8(): number {
    return this.#view.getInt8(this.#position++)
  }

  int16(): number {
    const value = this.#view.getInt16(this.#position)
    this.#position += 2
    return value
  }

  int32(): number {
    const value = this.#view.getInt32(this.#position)
    this.#position += 4
    return value
  }

  float32(): number {
    const value = this.#view.getFloat32(this.#position)
    this.#position += 4
    return value
  }

  float64(): number {
    const value = this.#view.getFloat64(this.#position)
    this.#position += 8
    return value
  }

  uint64(): bigint {
    const value = this.#view.getBigUint64(this.#position)
    this.#position += 8
    return value
  }

  int64(): bigint {
    const value = this.#view.getBigInt64(this.#position)
    this.#position += 8
    return value
  }

  /** Reads numbers into the list, as long as there are numbers and the list is shorter than `length`. */
  numbers(into: unknown[], length: number): void {
    const bytes = this.#bytes
    const view = this.#view
    // The longest number ends before the end, so nothing in the loop needs a check.
    const last = this.#end - 9
    let position = this.#position
    while (position <= last && into.length < length) {
      const token = bytes[position]!
      if (token < 0x80) {
        into.push(token)
        position += 1
      } else if (token >= 0xe0) {
        into.push(token - 0x100)
        position += 1
      } else if (token === 0xcb) {
        into.push(view.getFloat64(position + 1))
        position += 9
      } else if (token === 0xcc) {
        into.push(bytes[position + 1])
        position += 2
      } else if (token === 0xcd) {
        into.push(view.getUint16(position + 1))
        position += 3
      } else if (token === 0xce) {
        into.push(view.getUint32(position + 1))
        position += 5
      } else if (token === 0xd0) {
        into.push(view.getInt8(position + 1))
        position += 2
      } else if (token === 0xd1) {
        into.push(view.getInt16(position + 1))
        position += 3
      } else if (token === 0xd2) {
        into.push(view.getInt32(position + 1))
        position += 5
      } else {
        break
      }
    }
    this.#position = position
  }

  text(length: number): string {
    this.mustHold(length)
    const start = this.#position
    this.#position = start + length
    if (length <= shortText) {
      const text = this.#asciiText(start, start + length)
      if (text !== undefined) return text
    }
    // Node reads UTF-8 unit by unit, but can tell at once that there is only ASCII.
    const isLongAscii = length > 256 && isAscii(this.#bytes.subarray(start, start + length))
    return this.#bytes.toString(isLongAscii ? 'latin1' : 'utf8', start, start + length)
  }

  utf16(length: number): string {
    return this.#take(length).toString('utf16le')
  }

  /** A string that is probably the same as one before it. */
  key(length: number): string {
    this.mustHold(length)
    const bytes = this.#bytes
    const start = this.#position
    const keys = (this.#keys ??= new Array<string | undefined>(keySlots))
    const slot = (length * 7 + bytes[start]! * 3 + bytes[start + length - 1]!) & (keySlots - 1)
    const known = keys[slot]
    if (known?.length === length) {
      let i = 0
      while (i < length && known.charCodeAt(i) === bytes[start + i]) i++
      if (i === length) {
        this.#position = start + length
        return known
      }
    }
    const text = this.text(length)
    // Only ASCII has one byte for each unit, and can be compared with the bytes as above.
    if (text.length === length) keys[slot] = text
    return text
  }

  /**
   * A copy. A view would keep all of the bytes alive, and a task that writes to it would change what others read: it is one
   * only of bytes that are given away, where it is nearly all of what is in their memory.
   */
  buffer(length: number): Buffer {
    const view = this.#take(length)
    return this.#givenAway && length >= view.buffer.byteLength - slackBytes ? view : Buffer.from(view)
  }

  /** A copy in memory of its own. */
  arrayBuffer(length: number): ArrayBuffer {
    const copy = Buffer.allocUnsafeSlow(length)
    copy.set(this.#take(length))
    return copy.buffer
  }

  hex(length: number): string {
    return this.#take(length).toString('hex')
  }

  malformed(what: string): MalformedDataError {
    return new MalformedDataError(
      `A stored value is malformed at byte ${this.#position} of ${this.#end}: ${what}. ` +
        'It was cut off, or something other than Millrace wrote it; look at what else uses these keys.',
    )
  }

  #take(length: number): Buffer {
    this.mustHold(length)
    const start = this.#position
    this.#position = start + length
    return this.#bytes.subarray(start, start + length)
  }

  #asciiText(start: number, end: number): string | undefined {
    const bytes = this.#bytes
    let text = ''
    let i = start
    for (; i + 4 <= end; i += 4) {
      const [a, b, c, d] = [bytes[i]!, bytes[i + 1]!, bytes[i + 2]!, bytes[i + 3]!]
      if ((a | b | c | d) >= 0x80) return undefined
      text += String.fromCharCode(a, b, c, d)
    }
    for (; i < end; i++) {
      const unit = bytes[i]!
      if (unit >= 0x80) return undefined
      text += String.fromCharCode(unit)
    }
    return text
  }
}
