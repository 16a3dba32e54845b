/**
 * The segmented sieve of Eratosthenes over the wheel of 30 (Pritchard, "Fast compact prime number sieves", 1983): one
 * byte stands for 30 numbers, one bit for each of the eight residues that 2, 3 and 5 do not divide.
 *
 * The multiples p·q of a prime p with q in one residue class are p bytes apart and have the same bit, so that crossing
 * them off is a loop with a fixed step and a fixed mask.
 */

const RESIDUES = [1, 7, 11, 13, 17, 19, 23, 29] as const

/** A segment is to stay in the cache next to the core, whose usual size this is: it holds 983,040 numbers. */
const SEGMENT_BYTES = 32 * 1024
/** One may be a little larger, so that a range of a few segments and a bit is not given a tiny one more, which costs as much to aim as a whole one. */
const MOST_SEGMENT_BYTES = SEGMENT_BYTES + SEGMENT_BYTES / 16

/** The multiples of these are copied from a pattern that repeats every 7·11·13·17 bytes, not crossed off one by one. */
const PATTERN_PRIMES = [7, 11, 13, 17] as const
const PATTERN_BYTES = 7 * 11 * 13 * 17

/** The largest bound that a sieve takes: up to here, the numbers of bytes are 32-bit integers. */
export const MOST_PRIMES_BELOW = 60_000_000_000

/** Counts primes in any range below a bound. Making one finds the primes up to the bound's root, once. */
export class PrimeSieve {
  readonly #primes: Int32Array
  /** Per prime and class: the byte of the first multiple to cross off, and its bit. */
  readonly #firstByte: Int32Array
  readonly #bits: Uint8Array
  /** Per prime and class: the next byte to cross off, counted from the start of the segment at hand. */
  readonly #next: Int32Array
  readonly #pattern = repeatedPattern()
  readonly #segment = new Uint8Array(MOST_SEGMENT_BYTES)
  /** The byte that `#next` counts from. */
  #aimedAt = -1

  /** `below` is the largest `to` that will be asked for, at most {@link MOST_PRIMES_BELOW}. */
  constructor(below: number) {
    if (!(below >= 0 && below <= MOST_PRIMES_BELOW)) throw new RangeError(`There is no sieve below ${below}.`)
    this.#primes = Int32Array.from(smallPrimes(Math.ceil(Math.sqrt(below))).filter(prime => prime > 17))
    this.#firstByte = new Int32Array(this.#primes.length * 8)
    this.#bits = new Uint8Array(this.#primes.length * 8)
    this.#next = new Int32Array(this.#primes.length * 8)
    for (const [index, prime] of this.#primes.entries()) {
      for (const [slot, residue] of RESIDUES.entries()) {
        // A multiple whose cofactor is below the prime has a smaller prime factor, which crosses it off.
        const multiple = prime * (residue + 30 * Math.ceil((prime - residue) / 30))
        this.#firstByte[index * 8 + slot] = Math.floor(multiple / 30)
        this.#bits[index * 8 + slot] = bitOf(multiple % 30)
      }
    }
  }

  /** How many primes p there are with `from` ≤ p < `to`. */
  count(from: number, to: number): number {
    if (to <= from) return 0
    let count = [2, 3, 5].filter(prime => from <= prime && prime < to).length
    const endByte = Math.ceil(to / 30)
    let startByte = Math.floor(from / 30)
    // Ranges that follow one another, as most of one thread's do, go on where the last one ended.
    if (startByte !== this.#aimedAt) this.#aim(startByte)
    this.#aimedAt = endByte
    const segments = Math.ceil((endByte - startByte) / MOST_SEGMENT_BYTES)
    const segmentBytes = Math.ceil((endByte - startByte) / segments)
    while (startByte < endByte) {
      const bytes = this.#segment.subarray(0, Math.min(segmentBytes, endByte - startByte))
      this.#sieve(bytes, startByte)
      clearOutside(bytes, startByte, from, to)
      count += bytes.length * 8 - countBits(bytes)
      startByte += bytes.length
    }
    return count
  }

  /** Finds where each prime and class comes first in segments that start at `startByte`. */
  #aim(startByte: number): void {
    for (let at = 0; at < this.#next.length; at++) {
      const ahead = this.#firstByte[at]! - startByte
      const prime = this.#primes[at >> 3]!
      this.#next[at] = ahead >= 0 ? ahead : (prime - (-ahead % prime)) % prime
    }
  }

  /** Sets the bit of every composite of the segment, and aims at the one that follows. */
  #sieve(bytes: Uint8Array, startByte: number): void {
    const shift = startByte % PATTERN_BYTES
    bytes.set(this.#pattern.subarray(shift, shift + bytes.length))
    // The pattern has crossed off its own primes too; of the first thirty numbers, only 1 is no prime.
    if (startByte === 0) bytes[0] = bitOf(1)
    const { length } = bytes
    const next = this.#next
    const bits = this.#bits
    for (let index = 0; index < this.#primes.length; index++) {
      const prime = this.#primes[index]!
      for (let at = index * 8; at < index * 8 + 8; at++) {
        const bit = bits[at]!
        let byte = next[at]!
        for (; byte < length; byte += prime) bytes[byte]! |= bit
        next[at] = byte - length
      }
    }
  }
}

/** The primes up to and including `most`, in order. */
export function smallPrimes(most: number): number[] {
  const composite = new Uint8Array(most + 1)
  const primes: number[] = []
  for (let number = 2; number <= most; number++) {
    if (composite[number] === 1) continue
    primes.push(number)
    for (let multiple = number * number; multiple <= most; multiple += number) composite[multiple] = 1
  }
  return primes
}

/** The bit that stands for a residue of 30, or 0 for one that 2, 3 or 5 divides. */
function bitOf(residue: number): number {
  const slot = RESIDUES.findIndex(candidate => candidate === residue)
  return slot < 0 ? 0 : 1 << slot
}

/** The multiples of the pattern's primes from any byte of the pattern's period on, for a whole segment. */
function repeatedPattern(): Uint8Array {
  const pattern = new Uint8Array(PATTERN_BYTES + MOST_SEGMENT_BYTES)
  for (const prime of PATTERN_PRIMES) {
    for (const residue of RESIDUES) {
      const multiple = prime * residue
      const bit = bitOf(multiple % 30)
      for (let byte = Math.floor(multiple / 30) % prime; byte < pattern.length; byte += prime) pattern[byte]! |= bit
    }
  }
  return pattern
}

/** Sets the bits of numbers outside of `from` to `to`, which share the first or the last byte with others. */
function clearOutside(bytes: Uint8Array, startByte: number, from: number, to: number): void {
  const lastByte = startByte + bytes.length - 1
  for (const residue of RESIDUES) {
    if (startByte * 30 + residue < from) bytes[0]! |= bitOf(residue)
    if (lastByte * 30 + residue >= to) bytes[bytes.length - 1]! |= bitOf(residue)
  }
}

/** The bits set, four bytes at a time (Warren, "Hacker's Delight", §5–1). */
function countBits(bytes: Uint8Array): number {
  const words = new Int32Array(bytes.buffer, 0, bytes.length >> 2)
  let count = 0
  for (let word of words) {
    word -= (word >>> 1) & 0x55555555
    word = (word & 0x33333333) + ((word >>> 2) & 0x33333333)
    count += Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
  }
  for (let byte = words.length * 4; byte < bytes.length; byte++) {
    for (let rest = bytes[byte]!; rest !== 0; rest &= rest - 1) count++
  }
  return count
}
