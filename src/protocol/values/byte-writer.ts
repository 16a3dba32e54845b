import { ValueTooLargeError } from '../../errors.ts'
import { extension } from './format.ts'

const loneSurrogate = /\p{Surrogate}/u

/** The longest string that is copied unit by unit; for longer ones a native call is faster. */
const shortText = 40

/** A growing buffer with the MessagePack forms of scalars, and nothing that knows about objects. */
export class ByteWriter {
  #bytes: Buffer
  #view: DataView
  #position = 0
  readonly #limitBytes: number

  constructor(expectedBytes: number, limitBytes: number) {
    this.#limitBytes = limitBytes
    this.#bytes = Buffer.allocUnsafe(Math.max(64, Math.min(expectedBytes, limitBytes)))
    this.#view = viewOf(this.#bytes)
  }

  get position(): number {
    return this.#position
  }

  /** Forgets everything after `position`. */
  rewind(position: number): void {
    this.#position = position
  }

  /** What was written, in memory of about that size. The writer must not be used after it. */
  finish(): Buffer {
    const written = this.#bytes.subarray(0, this.#position)
    // Doubling leaves up to half of the memory unused; a batch that waits for its results should not hold it.
    return this.#position < this.#bytes.length * 0.7 ? Buffer.from(written) : written
  }

  byte(value: number): void {
    if (this.#position === this.#bytes.length) this.#grow(1)
    this.#bytes[this.#position++] = value
  }

  number(value: number): void {
    if (this.#position + 9 > this.#bytes.length) this.#grow(9)
    const bytes = this.#bytes
    const start = this.#position
    if ((value | 0) === value && (value !== 0 || !Object.is(value, -0))) {
      if (value >= 0) {
        if (value < 0x80) {
          bytes[start] = value
          this.#position = start + 1
        } else if (value < 0x100) {
          bytes[start] = 0xcc
          bytes[start + 1] = value
          this.#position = start + 2
        } else if (value < 0x10000) {
          bytes[start] = 0xcd
          bytes[start + 1] = value >> 8
          bytes[start + 2] = value
          this.#position = start + 3
        } else {
          bytes[start] = 0xce
          this.#view.setUint32(start + 1, value)
          this.#position = start + 5
        }
      } else if (value >= -0x20) {
        bytes[start] = value
        this.#position = start + 1
      } else if (value >= -0x80) {
        bytes[start] = 0xd0
        bytes[start + 1] = value
        this.#position = start + 2
      } else if (value >= -0x8000) {
        bytes[start] = 0xd1
        bytes[start + 1] = value >> 8
        bytes[start + 2] = value
        this.#position = start + 3
      } else {
        bytes[start] = 0xd2
        this.#view.setInt32(start + 1, value)
        this.#position = start + 5
      }
    } else if (value >>> 0 === value && value !== 0) {
      bytes[start] = 0xce
      this.#view.setUint32(start + 1, value)
      this.#position = start + 5
    } else {
      bytes[start] = 0xcb
      this.#view.setFloat64(start + 1, value)
      this.#position = start + 9
    }
  }

  string(value: string): void {
    const { length } = value
    if (length > shortText) return this.#longString(value)
    if (this.#position + length + 2 > this.#bytes.length) this.#grow(length + 2)
    const bytes = this.#bytes
    let position = this.#position
    if (length < 0x20) {
      bytes[position++] = 0xa0 | length
    } else {
      bytes[position++] = 0xd9
      bytes[position++] = length
    }
    for (let i = 0; i < length; i++) {
      const unit = value.charCodeAt(i)
      if (unit >= 0x80) return this.#longString(value)
      bytes[position++] = unit
    }
    this.#position = position
  }

  bigint(value: bigint): void {
    if (BigInt.asIntN(64, value) === value) {
      this.#reserve(9)
      this.#bytes[this.#position] = 0xd3
      this.#view.setBigInt64(this.#position + 1, value)
      this.#position += 9
      return
    }
    const negative = value < 0n
    const digits = (negative ? -value : value).toString(16)
    const magnitude = Buffer.from(digits.length % 2 === 0 ? digits : `0${digits}`, 'hex')
    this.extensionHeader(extension.bigint, magnitude.length + 1)
    this.byte(negative ? 1 : 0)
    this.copy(magnitude)
  }

  float64(value: number): void {
    this.#reserve(8)
    this.#view.setFloat64(this.#position, value)
    this.#position += 8
  }

  uint32(value: number): void {
    this.#reserve(4)
    this.#view.setUint32(this.#position, value)
    this.#position += 4
  }

  copy(source: Uint8Array): void {
    this.#reserve(source.length)
    this.#bytes.set(source, this.#position)
    this.#position += source.length
  }

  arrayHeader(length: number): void {
    this.#header(length, 0x90, 0xdc)
  }

  mapHeader(size: number): void {
    this.#header(size, 0x80, 0xde)
  }

  binaryHeader(length: number): void {
    this.#sizedHeader(length, 0xc4)
  }

  /** The header of an extension whose size is known. */
  extensionHeader(type: number, length: number): void {
    const fixed = length === 1 ? 0xd4 : length === 4 ? 0xd6 : length === 8 ? 0xd7 : undefined
    if (fixed === undefined) this.#sizedHeader(length, 0xc7)
    else this.byte(fixed)
    this.byte(type)
  }

  /** Begins an extension of yet unknown size. @returns what `endExtension` needs. */
  beginExtension(type: number): number {
    this.byte(0xc9)
    this.uint32(0)
    this.byte(type)
    return this.#position
  }

  endExtension(begin: number): void {
    this.#view.setUint32(begin - 5, this.#position - begin)
  }

  /** Writes the size of an array whose header (of 5 bytes) was written by `openArray` at `position`. */
  closeArray(position: number, length: number): void {
    this.#view.setUint32(position + 1, length)
  }

  /** Begins an array of yet unknown length. */
  openArray(): void {
    this.byte(0xdd)
    this.uint32(0)
  }

  #longString(value: string): void {
    const length = Buffer.byteLength(value)
    if (length !== value.length && loneSurrogate.test(value)) {
      this.extensionHeader(extension.utf16, value.length * 2)
      this.#reserve(value.length * 2)
      this.#position += this.#bytes.write(value, this.#position, 'utf16le')
      return
    }
    if (length < 0x20) this.byte(0xa0 | length)
    else this.#sizedHeader(length, 0xd9)
    this.#reserve(length)
    this.#position += this.#bytes.write(value, this.#position)
  }

  /** A header whose size is in the first byte, or in 16 or 32 bits after it. */
  #header(size: number, tiny: number, medium: number): void {
    this.#reserve(5)
    const bytes = this.#bytes
    if (size < 0x10) {
      bytes[this.#position++] = tiny | size
    } else if (size < 0x10000) {
      bytes[this.#position++] = medium
      bytes[this.#position++] = size >> 8
      bytes[this.#position++] = size
    } else {
      bytes[this.#position++] = medium + 1
      this.uint32(size)
    }
  }

  /** A header whose size is in 8, 16 or 32 bits after the first byte. */
  #sizedHeader(size: number, small: number): void {
    this.#reserve(5)
    const bytes = this.#bytes
    if (size < 0x100) {
      bytes[this.#position++] = small
      bytes[this.#position++] = size
    } else if (size < 0x10000) {
      bytes[this.#position++] = small + 1
      bytes[this.#position++] = size >> 8
      bytes[this.#position++] = size
    } else {
      bytes[this.#position++] = small + 2
      this.uint32(size)
    }
  }

  #reserve(bytes: number): void {
    if (this.#position + bytes > this.#bytes.length) this.#grow(bytes)
  }

  #grow(bytes: number): void {
    const needed = this.#position + bytes
    if (needed > this.#limitBytes) {
      throw new ValueTooLargeError(
        `A value of ${needed} bytes or more is larger than the limit of ${this.#limitBytes} bytes that travels in one piece; ` +
          'split it, or store it elsewhere and send where it is.',
        { valueBytes: needed, limitBytes: this.#limitBytes },
      )
    }
    // A large buffer or string gets what it needs, and no more: it is usually the last thing in its value.
    const doubled = Math.min(this.#bytes.length * 2, this.#limitBytes)
    const grown = Buffer.allocUnsafe(Math.max(needed + 32, doubled))
    grown.set(this.#bytes.subarray(0, this.#position))
    this.#bytes = grown
    this.#view = viewOf(grown)
  }
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
