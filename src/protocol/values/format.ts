/**
 * How values look as bytes: MessagePack, with the extension types below for what MessagePack has no form of. Numbers
 * are integers of up to 32 bits or float 64; MessagePack's 64-bit integers stand for BigInt; its `bin` for Buffer.
 *
 * It is written and read here, not by a library, because a library needs a walk before it (msgpackr drops functions and
 * turns instances of classes into plain objects without a word) and one behind it (its extensions for errors and
 * references can be driven by a hundred hostile bytes to hand out internals, or to run for hours). One walk that does
 * everything is shorter than those two, and as fast as the library alone.
 */

/** The type bytes of our extensions. */
export const extension = {
  /** One byte: 0 is `undefined`, 1 is a hole in an array. */
  absent: 0x00,
  /** ArrayBuffer: its bytes. */
  arrayBuffer: 0x61,
  /** BigInt beyond 64 bits: one byte for the sign (0 or 1), then the magnitude, most significant byte first. */
  bigint: 0x62,
  /** Date: milliseconds as float 64, NaN when invalid. */
  date: 0x64,
  /** Error: the array [name, message, stack or null, errors or null], and a fifth element if it has a cause. */
  error: 0x65,
  /** Map: a MessagePack map, whose keys may be any value. */
  map: 0x6d,
  /** Reference to an object of the same value: its number (uint 32), counted from 0 in the order in which objects begin. */
  reference: 0x72,
  /** Set: an array. */
  set: 0x73,
  /** Typed array or DataView: one byte for its kind (see `views`), then its bytes in the machine's order, which is little-endian wherever Redis and Node are in use. */
  view: 0x74,
  /** A string in UTF-16, little-endian: one with lone surrogates, which UTF-8 cannot carry, or a long one that is no longer this way. */
  utf16: 0x75,
  /** RegExp: the array [source, flags]. */
  regexp: 0x78,
} as const

/** The kinds of `view`. Its position is the byte on the wire: append only. */
export const views: readonly (new (buffer: ArrayBuffer) => ArrayBufferView)[] = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
  DataView,
]

/** The errors that come back as instances of their own class. A closed list: no name from the bytes is looked up as a class. */
export const nativeErrors: ReadonlyMap<string, ErrorConstructor> = new Map<string, ErrorConstructor>([
  ['EvalError', EvalError],
  ['RangeError', RangeError],
  ['ReferenceError', ReferenceError],
  ['SyntaxError', SyntaxError],
  ['TypeError', TypeError],
  ['URIError', URIError],
])

/** How deep objects may be nested: deeper than data is, and far from the end of a thread's stack. */
export const maxDepth = 500

/** The largest value in bytes: the longest string that Redis takes with its default `proto-max-bulk-len`. */
export const maxValueBytes = 512 * 1024 * 1024

/** How many holes one array may have. Each takes three bytes, and an array with four billion of them is easily made. */
export const maxHoles = 100_000
