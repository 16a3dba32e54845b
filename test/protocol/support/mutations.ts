/** A generator of numbers below 2³² that a failure can be repeated with (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
}

/** A copy with a few bytes changed, cut out, doubled, or taken from `other`. */
export function mutated(bytes: Buffer, other: Buffer, next: () => number, interesting: readonly number[]): Buffer {
  let result = Buffer.from(bytes)
  const times = 1 + (next() % 4)
  for (let i = 0; i < times; i++) {
    const at = next() % (result.length + 1)
    const end = Math.min(result.length, at + (next() % 8))
    const [before, after] = [result.subarray(0, at), result.subarray(end)]
    const kind = next() % 6
    if (kind === 0) result = Buffer.concat([before, Buffer.from([next()]), after])
    else if (kind === 1) result = Buffer.concat([before, after])
    else if (kind === 2) result = Buffer.concat([before, result.subarray(at, end), result.subarray(at)])
    else if (kind === 3) result = Buffer.concat([before, other.subarray(next() % Math.max(1, other.length)), after])
    else if (at < result.length) result[at] = kind === 4 ? next() : interesting[next() % interesting.length]!
  }
  return result.subarray(0, 20_000)
}

/** Bytes that mean something in lines of words and in JSON: what separates, ends, counts and negates. */
export const textual = [...Buffer.from('\n \r\t\0-+.,:*0123456789eE{}[]"\\_axN'), 0x7f, 0x80, 0xc2, 0x85, 0xe2, 0xff]

/** Replaces a word, or a JSON value, by one that a careless reader would trip over. */
export function withOddWord(bytes: Buffer, next: () => number): Buffer {
  const text = bytes.toString('latin1')
  const words = [...text.matchAll(/[^\s,:{}[\]]+/g)]
  const word = words[next() % Math.max(1, words.length)]
  if (word === undefined) return bytes
  const odd = oddWords[next() % oddWords.length]!
  return Buffer.from(text.slice(0, word.index) + odd + text.slice(word.index + word[0].length), 'latin1')
}

const oddWords = [
  ...['', '-1', '-0', '0', '1e9', '1e308', 'NaN', 'nan', 'inf', 'Infinity', '-Infinity', '0x10', '1.5', '٣'],
  ...['9007199254740993', '999999999999999', '1000000000000000', '18446744073709551616', '4294967296', '65536'],
  ...['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'null', 'true', 'undefined', '*', '-'],
  ...['"__proto__"', '{"__proto__":{"polluted":1}}', '[[[[[[]]]]]]', '""', 'x'.repeat(3000), '%s%n', '$(id)', '\\n'],
]

/** The names of everything that built-in prototypes and the global object have, to see that nothing was added. */
export function surroundings(): string {
  return [...prototypes, globalThis].map(object => Reflect.ownKeys(object).map(String).join()).join('\n')
}

const prototypes: readonly object[] = [
  Object.prototype,
  Array.prototype,
  Map.prototype,
  Set.prototype,
  RegExp.prototype,
  Function.prototype,
  Error.prototype,
  Buffer.prototype,
]
