import { ValueTooLargeError } from '../../errors.ts'
import { extension } from './format.ts'

const loneSurrogate = /\p{Surrogate}/u

/** The longest string that is copied unit by unit; for longer ones a native call is faster. */
const shortText = 40

/** Enough for the header of anything, and for a whole number. */
const headerBytes = 9

/** How many numbers are written between two looks at the room that is left. */
const numbersAtOnce = 32

/** A growing buffer and the MessagePack forms of scalars and headers. It knows nothing about objects. */
export class ByteWriter {
  #bytes: Buffer
  #view: DataView
  #position = 0
  readonly #limitBytes: number

  constructor(expectedBytes: number, limitBytes: number) {
    this.#limitBytes = limitBytes
    this.#bytes = Buffer.allocUnsafe(Math.min(Math.max(64, expectedBytes), limitBytes))
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
    const capacity = this.#bytes.length
    const written = this.#bytes.subarray(0, this.#position)
    // A batch may wait for long until it is sent or settled, and should not hold much more memory than it has bytes.
    return capacity > 1024 && this.#position < capacity * 0.6 ? Buffer.from(written) : written
  }

  byte(value: number): void {
    if (this.#position === this.#bytes.length) this.#grow(1)
    this.#bytes[this.#position++] = value
  }

  number(value: number): void {
    this.#reserve(headerBytes)
    this.#position = putNumber(this.#bytes, this.#view, this.#position, value)
  }

  /**
   * Writes numbers from `from` on, as long as they are numbers. Close to the limit it stops, so that the caller writes one at
   * a time, and learns which of them does not fit. @returns the index of the first item that was not written.
   */
  numbers(items: readonly unknown[], from: number, to: number): number {
    let i = from
    while (i < to && typeof items[i] === 'number') {
      const stop = Math.min(to, i + numbersAtOnce)
      const most = (stop - i) * headerBytes
      if (this.#position + most > this.#limitBytes) break
      this.#reserve(most)
      const bytes = this.#bytes
      const view = this.#view
      let position = this.#position
      for (; i < stop; i++) {
        const item = items[i]
        if (typeof item !== 'number') break
        position = putNumber(bytes, view, position, item)
      }
      this.#position = position
      if (i < stop) break
    }
    return i
  }

  string(value: string): void {
    const { length } = value
    if (length > shortText) return this.#longString(value)
    this.#reserve(length + 2)
    const bytes = this.#bytes
    let position = this.#position
    if (length >= 0x20) bytes[position++] = 0xd9
    bytes[position++] = length < 0x20 ? 0xa0 | length : length
    for (let i = 0; i < length; i++) {
      const unit = value.charCodeAt(i)
      if (unit >= 0x80) return this.#longString(value)
      bytes[position++] = unit
    }
    this.#position = position
  }

  bigint(value: bigint): void {
    if (BigInt.asIntN(64, value) === value) {
      this.#reserve(headerBytes)
      this.#bytes[this.#position] = 0xd3
      this.#view.setBigInt64(this.#position + 1, value)
      this.#position += 9
      return
    }
    const digits = (value < 0n ? -value : value).toString(16)
    const magnitude = Buffer.from(digits.length % 2 === 0 ? digits : `0${digits}`, 'hex')
    this.extensionHeader(extension.bigint, magnitude.length + 1)
    this.byte(value < 0n ? 1 : 0)
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
    this.#countHeader(length, 0x90, 0xdc)
  }

  mapHeader(size: number): void {
    this.#countHeader(size, 0x80, 0xde)
  }

  binaryHeader(length: number): void {
    this.#sizeHeader(length, 0xc4)
  }

  /** The header of an extension whose size is known. */
  extensionHeader(type: number, length: number): void {
    const fixed = length === 1 ? 0xd4 : length === 4 ? 0xd6 : length === 8 ? 0xd7 : undefined
    if (fixed === undefined) this.#sizeHeader(length, 0xc7)
    else this.byte(fixed)
    this.byte(type)
  }

  /** Begins an extension whose size is known only at its end. @returns what `closeExtension` needs. */
  openExtension(type: number): number {
    this.byte(0xc9)
    this.uint32(0)
    this.byte(type)
    return this.#position
  }

  closeExtension(opened: number): void {
    this.#view.setUint32(opened - 5, this.#position - opened)
  }

  /** Begins an array whose length is known only at its end. @returns what `closeArray` needs. */
  openArray(): number {
    this.byte(0xdd)
    this.uint32(0)
    return this.#position
  }

  closeArray(opened: number, length: number): void {
    this.#view.setUint32(opened - 4, length)
  }

  #longString(value: string): void {
    // Asking for the size first costs one fast pass, and saves reserving three bytes for each unit of a large string.
    const length = Buffer.byteLength(value)
    const utf16Length = value.length * 2
    // Node reads long UTF-16 many times faster than UTF-8, so where it is no longer it is better.
    if ((length >= utf16Length && length > 1024) || (length !== value.length && loneSurrogate.test(value))) {
      this.extensionHeader(extension.utf16, utf16Length)
      this.#reserve(utf16Length)
      this.#position += this.#bytes.write(value, this.#position, 'utf16le')
      return
    }
    if (length < 0x20) this.byte(0xa0 | length)
    else this.#sizeHeader(length, 0xd9)
    this.#reserve(length)
    this.#position += this.#bytes.write(value, this.#position, 'utf8')
  }

  /** A header with its number in the low bits of the first byte, or in 16 or 32 bits after it. */
  #countHeader(count: number, tiny: number, token: number): void {
    if (count < 0x10) this.byte(tiny | count)
    else if (count < 0x10000) this.#header16(token, count)
    else this.#header32(token + 1, count)
  }

  /** A header with its number in 8, 16 or 32 bits after the first byte. */
  #sizeHeader(size: number, token: number): void {
    if (size < 0x100) {
      this.byte(token)
      this.byte(size)
    } else if (size < 0x10000) this.#header16(token + 1, size)
    else this.#header32(token + 2, size)
  }

  #header16(token: number, value: number): void {
    this.#reserve(3)
    this.#bytes[this.#position++] = token
    this.#bytes[this.#position++] = value >> 8
    this.#bytes[this.#position++] = value
  }

  #header32(token: number, value: number): void {
    this.byte(token)
    this.uint32(value)
  }

  #reserve(bytes: number): void {
    if (this.#position + bytes > this.#bytes.length) this.#grow(bytes)
  }

  #grow(bytes: number): void {
    const needed = this.#position + bytes
    if (needed > this.#limitBytes) throw tooLarge(needed, this.#limitBytes)
    // A quarter more than is needed, so that what follows a large buffer does not move it once more.
    const capacity = Math.max(this.#bytes.length * 2, Math.ceil(needed * 1.25) + headerBytes)
    const grown = Buffer.allocUnsafe(Math.min(capacity, this.#limitBytes))
    grown.set(this.#bytes.subarray(0, this.#position))
    this.#bytes = grown
    this.#view = viewOf(grown)
  }
}

/** Writes a number where there is room for it. Local variables throughout: this is the inner loop of the whole codec. */
function putNumber(bytes: Buffer, view: DataView, position: number, value: number): number {
  if ((value | 0) === value && (value !== 0 || !Object.is(value, -0))) {
    if (value >= -0x20 && value < 0x80) {
      bytes[position] = value
      return position + 1
    }
    if (value >= -0x80 && value < 0x100) {
      bytes[position] = value < 0 ? 0xd0 : 0xcc
      bytes[position + 1] = value
      return position + 2
    }
    if (value >= -0x8000 && value < 0x10000) {
      bytes[position] = value < 0 ? 0xd1 : 0xcd
      bytes[position + 1] = value >> 8
      bytes[position + 2] = value
      return position + 3
    }
    bytes[position] = value < 0 ? 0xd2 : 0xce
    view.setUint32(position + 1, value)
    return position + 5
  }
  if (value >>> 0 === value && value !== 0) {
    bytes[position] = 0xce
    view.setUint32(position + 1, value)
    return position + 5
  }
  bytes[position] = 0xcb
  view.setFloat64(position + 1, value)
  return position + 9
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function tooLarge(valueBytes: number, limitBytes: number): ValueTooLargeError {
  return new ValueTooLargeError(
    `A value takes ${valueBytes} bytes or more, and at most ${limitBytes} travel in one piece; ` +
      'split it, or store it elsewhere and send where it is.',
    { valueBytes, limitBytes },
  )
}
