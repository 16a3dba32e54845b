import { afterEach, expect, test } from 'vitest'
import { openClient } from '../../src/store/client.ts'
import type { Client } from '../../src/store/client.ts'
import { PlainStore } from '../../src/store/plain-store.ts'
import { redisTarget } from '../../src/store/target.ts'
import { useRedis } from './support/lane.ts'

const redis = useRedis({ config: { 'maxmemory-policy': 'noeviction' } })
let client: Client
afterEach(() => {
  client.disconnect()
})

test('a List that has filled Redis to its memory limit is emptied', async () => {
  client = openClient(redisTarget(redis.process.url), { name: 'millrace:test', silenceMs: 10_000 })
  const store = new PlainStore(client, { list: 'queue', results: 'results' })
  await client.lpush('queue', 'one', 'two')
  await client.config('SET', 'maxmemory', '1kb')
  const push = client.lpush('queue', 'three')
  await expect(push).rejects.toThrow(/OOM/)
  for (const element of ['one', 'two']) {
    const taken = await store.blockingClaim('claim', 1000)
    expect(taken?.toString()).toBe(element)
    const outcome = { outcome: 'ok', value: 'done' } as const
    expect(await store.commit('claim', taken!, taken!, outcome)).toBe('committed')
  }
  expect(await store.blockingClaim('claim', 1000)).toBe(null)
  await client.config('SET', 'maxmemory', '0')
  await client.lpush('queue', 'three')
  expect((await store.blockingClaim('claim', 1000))?.toString()).toBe('three')
})
