import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeChunk } from '../../src/protocol/chunk.ts'
import type { ChunkHeader } from '../../src/protocol/chunk.ts'
import { chunk, time } from '../../src/protocol/scripts/lua.ts'
import { useRedis } from '../store/support/lane.ts'

const redis = useRedis()

const word = fc.oneof(
  fc.stringMatching(/^[A-Za-z0-9._:-]{0,8}$/),
  fc.constantFrom(
    'pack',
    'range',
    'held',
    'plain',
    'shared',
    'reduce',
    'both',
    '0',
    '1',
    '00',
    '5',
    '999999999',
    '9999999999',
    '9'.repeat(15),
    '9'.repeat(16),
  ),
  fc.constantFrom(
    '',
    'é',
    '\u00a0',
    '\u0085',
    '\u007f',
    '\t',
    'x'.repeat(64),
    'x'.repeat(65),
    'x'.repeat(201),
    'ü'.repeat(200),
    'ü'.repeat(401),
    'x'.repeat(1000),
  ),
)
/** Bytes that no text has: each reads as one character or several, and as other bytes when it is written again. */
const noText = fc.constantFrom(
  ...[
    '',
    '80',
    '85',
    'c2',
    'ff',
    'c0af',
    'eda080',
    'f09080',
    'e0c285',
    'f0c285',
    '80'.repeat(401),
    'e280'.repeat(300),
  ].map(digits => Buffer.from(digits, 'hex')),
)
/** Header lines that are right but for a word or two. */
const line = fc
  .tuple(fc.array(fc.tuple(fc.nat(9), word), { maxLength: 2 }), fc.array(word, { maxLength: 2 }), noText)
  .map(([changes, more, rest]) => {
    const words = ['job-1', 'ab12', '7', '3', '5', '1', '0', 'pack', 'plain', 'square']
    for (const [at, value] of changes) words[at] = value
    return Buffer.concat([Buffer.from([...words, ...more].join(' ')), rest])
  })

function headerOf(element: Buffer): ChunkHeader | undefined {
  try {
    return decodeChunk(element).header
  } catch {
    return undefined
  }
}

test(
  'a script takes nothing for a chunk that a thread would take for garbage, and the common ones both take',
  { timeout: 60_000 },
  async () => {
    const lua = `#!lua flags=no-writes\n${time}${chunk}
local taken = {}
for i, element in ipairs(ARGV) do taken[i] = parse(element) and 1 or 0 end
return taken`
    const client = redis.open()
    let both = 0
    await fc.assert(
      fc.asyncProperty(fc.array(line, { minLength: 50, maxLength: 50 }), async lines => {
        const elements = lines.map(bytes => Buffer.concat([bytes, Buffer.from('\npayload')]))
        const taken = (await client.call('eval', [lua, 0, ...elements])) as number[]
        for (const [index, element] of elements.entries()) {
          const header = headerOf(element)
          const text = element.toString()
          if (taken[index] === 1) {
            expect(header, text).toBeDefined()
            both++
          } else if (header !== undefined) {
            // Where they differ the script is the stricter: about ids that no driver makes.
            expect(/^[A-Za-z0-9._:-]+ [A-Za-z0-9]+ /.test(text), text).toBe(false)
          }
        }
      }),
      { numRuns: 60 },
    )
    expect(both).toBeGreaterThan(100)
  },
)
