import { afterAll, beforeAll, expect, test } from 'vitest'
import { partKeys } from '../../src/protocol/keys.ts'
import { openClient } from '../../src/store/client.ts'
import type { Client } from '../../src/store/client.ts'
import { LaneStore } from '../../src/store/lane-store.ts'
import { redisTarget } from '../../src/store/target.ts'
import { startRedis } from '../support/redis.ts'
import type { RedisProcess } from '../support/redis.ts'

let redis: RedisProcess
let client: Client
let store: LaneStore

beforeAll(async () => {
  redis = await startRedis()
  client = openClient(redisTarget(redis.url), { name: 'test', silenceMs: 5000 })
  store = new LaneStore(client, { namespace: 'millrace', queue: 'default', lane: 0 })
})
afterAll(async () => {
  client.disconnect()
  await redis.stop()
})

const key = 'damaged'

test('what another process has cleared away meanwhile is read again', async () => {
  await client.set(key, 'no hash')
  let reads = 0
  const read = store.parts.read([{ key, kind: 'hash' }], async () => {
    reads++
    try {
      return await client.hgetall(key)
    } catch (error) {
      await client.del(key)
      throw error
    }
  })
  expect(await read).toEqual({})
  expect(reads).toBe(2)
})

/** Reads a Hash in place of which something else is written before each of the first reads. */
function readOften(damages: number) {
  let reads = 0
  const read = store.parts.read([{ key, kind: 'hash' }], async () => {
    if (++reads <= damages) await client.set(key, 'no hash')
    return client.hgetall(key)
  })
  return { read, reads: () => reads }
}

test('what is damaged again is cleared away again, and read for the last time after twenty', async () => {
  const thrice = readOften(3)
  expect(await thrice.read).toEqual({})
  expect(thrice.reads()).toBe(4)
  const always = readOften(Infinity)
  await expect(always.read).rejects.toThrow('WRONGTYPE')
  expect(always.reads()).toBe(21)
})

test('a record that is damaged is no record', async () => {
  await client.set(partKeys(store.lane, 'job-1').part, 'none')
  expect(await store.parts.readPart('job-1')).toBeUndefined()
})
