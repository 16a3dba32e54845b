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

test('a record or a lane with a count that Redis would not count on is no record', async () => {
  const counts = {
    part: ['submitted', 'waiting', 'settled', 'failed', 'released', 'priority', 'keepMs', 'cursor', 'attached'],
    lane: ['turn', 'slots', 'reapedAt', 'reapingSince'],
  } as const
  await client.del(key)
  for (const kind of ['part', 'lane'] as const) {
    for (const field of counts[kind]) {
      for (const value of ['1.5', '007', '-0', '+1', '1e3', '0x10', '', ' 7', '99999999999999999999', 'many']) {
        await client.hset(key, field, value)
        await expect(client.hincrby(key, field, 1)).rejects.toThrow()
        expect(await store.mend([{ key, kind }]), `${field} ${value}`).toBe(1)
      }
      for (const value of ['0', '7', '-7', '120', '999999999999999']) await client.hset(key, field, value)
      expect(await store.mend([{ key, kind }])).toBe(0)
      await client.del(key)
    }
  }
  for (const pace of ['0', '12', '0.5', '1000.0']) {
    await client.hset(key, 'pace', pace)
    expect(await store.mend([{ key, kind: 'part' }]), pace).toBe(0)
  }
  await client.hset(key, 'pace', 'slow')
  expect(await store.mend([{ key, kind: 'part' }])).toBe(1)
})

test.each(['submitted', 'settled', 'failed', 'waiting', 'attached'])(
  'a part with a fraction for %s is none',
  async field => {
    const { part } = partKeys(store.lane, 'job-2')
    await client.hset(part, { incarnation: 'i', state: 'open', [field]: '1.5' })
    expect(await store.parts.readCounters('job-2')).toBeUndefined()
    expect(await client.exists(part)).toBe(0)
  },
)
