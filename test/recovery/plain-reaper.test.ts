import { expect, test } from 'vitest'
import { randomName } from '../../src/protocol/names.ts'
import { PlainReaper } from '../../src/recovery/plain-reaper.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { PlainStore } from '../../src/store/plain-store.ts'
import { useRedis } from '../store/support/lane.ts'

const redis = useRedis()

test('an element that arrives late in any of many claims that have ended goes back to its List', async () => {
  const name = randomName(4)
  const store = new PlainStore(redis.open(), { list: `{${name}}:list`, results: `{${name}}:results` })
  const claims = Array.from({ length: 200 }, (_, i) => `claim-${i}`)
  await store.register('w', 60_000, '{}', claims)
  expect(await store.leave('w', claims)).toBe('left')
  // Held up on its way: a proxy, a partition.
  for (const claim of claims) await store.client.lpush(store.keys.claim(claim), claim)
  const reaper = new PlainReaper(store, { leaseMs: 6000, maxDeaths: 3, log: silentLog })
  let returned = 0
  for (let round = 0; round < 4; round++) returned += await reaper.runOnce()
  expect(returned).toBe(200)
  expect((await store.client.lrange(store.keys.list, 0, -1)).sort()).toEqual(claims.sort())
  // And from the first again.
  await store.client.lpush(store.keys.claim('claim-0'), 'later')
  for (let round = 0; round < 4; round++) returned += await reaper.runOnce()
  expect(returned).toBe(201)
})
