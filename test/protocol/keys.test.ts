import { readFile } from 'node:fs/promises'
import { beforeAll, describe, expect, test } from 'vitest'
import {
  broadcastKey,
  claimKey,
  codeKeys,
  collectorChannel,
  controlChannel,
  laneKeys,
  laneTag,
  partKeys,
  workerKeys,
} from '../../src/protocol/keys.ts'
import type { Lane } from '../../src/protocol/keys.ts'
import { plainKeys } from '../../src/protocol/plain.ts'
import { liveThrough } from '../store/support/life.ts'
import { useRedis } from '../store/support/lane.ts'

const redis = useRedis()
const lane: Lane = { namespace: '<namespace>', queue: '<queue>', lane: 0 }

/** Every key that keys.ts can name, as the document writes it. */
const named = [
  ...Object.values(laneKeys(lane)),
  ...Object.values(codeKeys(lane, '<hash>')),
  ...Object.values(partKeys(lane, '<job>')),
  ...Object.values(workerKeys(lane, '<worker>')),
  claimKey(lane, '<claim>'),
  broadcastKey(lane, '<broadcast>'),
].map(key => key.replace(laneTag(lane), '{…}'))

let page = ''
/** The document's rows: pattern → type. */
const documented = new Map<string, string>()

beforeAll(async () => {
  page = await readFile(new URL('../../docs/protocol.md', import.meta.url), 'utf8')
  for (const [, pattern = '', type = ''] of page.matchAll(/^\| `(\{…\}:[^`]+)` \| (\w+) \|/gm))
    documented.set(pattern, type)
})

describe('docs/protocol.md', () => {
  test('lists every key that there is a function for, and no other', () => {
    expect([...documented.keys()].sort()).toEqual([...named].sort())
  })

  test('lists the channels', () => {
    expect(page).toContain(`\`${controlChannel('<namespace>', '<queue>')}\``)
    expect(page).toContain(`\`${collectorChannel('<namespace>', '<queue>', '<collector>')}\``)
  })

  test('names the keys of plain-Redis mode', () => {
    const {
      list: _list,
      results: _results,
      waiting: _never,
      ...own
    } = plainKeys({ list: '<list>', results: '<results>' })
    for (const key of Object.values(own)) {
      const name = (typeof key === 'function' ? key('<id>') : key).replace('{<list>}:millrace:', '')
      expect(page).toContain(`\`${name}\``)
    }
  })

  test('every key in Redis after every operation has run is listed, with its type, and every listed one is seen', async () => {
    const store = redis.lane()
    await liveThrough(store, store)
    const tag = laneTag(store.lane)
    const patterns = [...documented].map(([pattern, type]) => ({ pattern, type, expression: toExpression(pattern) }))
    const seen = new Set<string>()
    for (const key of await store.client.keys('*')) {
      const name = key.replace(tag, '{…}')
      // The first in the order of length: a job's id may hold a colon, but not these.
      const match = patterns
        .filter(({ expression }) => expression.test(name))
        .sort((a, b) => b.pattern.length - a.pattern.length)[0]
      expect(match, `${key} is listed`).toBeDefined()
      expect(await store.client.type(key), key).toBe(match?.type)
      seen.add(match?.pattern ?? '')
    }
    expect([...documented.keys()].filter(pattern => !seen.has(pattern))).toEqual([])
  })
})

function toExpression(pattern: string): RegExp {
  const escaped = pattern.replaceAll(/[{}.:]/g, '\\$&').replaceAll(/<\w+>/g, '[^:]+')
  return new RegExp(`^${escaped}$`)
}
