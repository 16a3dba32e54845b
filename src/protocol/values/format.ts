/**
 * How values look as bytes: MessagePack, with the extension types below for what MessagePack has no form of. Numbers
 * are integers of up to 32 bits or float 64; MessagePack's 64-bit integers stand for BigInt; `bin` stands for Buffer.
 *
 * We write and read it ourselves. A MessagePack library would need a walk before it (to name what cannot travel, which
 * libraries drop or turn into plain objects) and one behind it (their extensions for errors and references can be
 * driven to leak internals or to run for hours by a hundred hostile bytes), and those walks cost more than the codec.
 */

/** The type bytes of our extensions. Those whose payload is a value hold exactly one. */
export const extension = {
  /** One byte: 0 is `undefined`, 1 is a hole in an array. */
  absent: 0x00,
  /** ArrayBuffer: its bytes. */
  arrayBuffer: 0x61,
  /** BigInt outside of 64 bits: one byte for the sign (0 or 1), then the magnitude, most significant byte first. */
  bigint: 0x62,
  /** Date: milliseconds as float 64, NaN when invalid. */
  date: 0x64,
  /** Error: the array [name, message, stack], then optionally cause, or cause (or a hole) and errors. */
  error: 0x65,
  /** Map: a MessagePack map, whose keys may be any value. */
  map: 0x6d,
  /** Reference to an object of the same value: its number (uint 32), in the order in which objects begin, from 0. */
  reference: 0x72,
  /** Set: an array. */
  set: 0x73,
  /** Typed array or DataView: one byte for its kind, see `views`, then its bytes in little-endian order. */
  view: 0x74,
  /** A string with lone surrogates, which UTF-8 cannot carry: UTF-16, little-endian. */
  utf16: 0x75,
  /** RegExp: the array [source, flags]. */
  regexp: 0x78,
} as const

/** The kinds of `view`; the position is the byte on the wire, so the order is fixed. */
export const views = [
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
] as const

/** The errors that come back as instances of their own class. A closed list: no name is ever looked up as a class. */
export const nativeErrors: ReadonlyMap<string, ErrorConstructor> = new Map<string, ErrorConstructor>([
  ['EvalError', EvalError],
  ['RangeError', RangeError],
  ['ReferenceError', ReferenceError],
  ['SyntaxError', SyntaxError],
  ['TypeError', TypeError],
  ['URIError', URIError],
])

/** How deep objects may be nested: far deeper than data is, and far from the end of a thread's stack. */
export const maxDepth = 1000

/** The largest value, in bytes: the longest string that Redis takes with its default `proto-max-bulk-len`. */
export const maxValueBytes = 512 * 1024 * 1024

/** How many holes one array may have. Each takes bytes, and an array of four billion holes is easily made. */
export const maxHoles = 100_000
