import { describe, expect, test } from 'vitest'
import { EvictionPolicyError } from '../../../src/errors.ts'
import { checkServers, evicts, readServer } from '../../../src/store/inspect/server.ts'
import { useRedis } from '../support/lane.ts'

const redis = useRedis()

describe('checkServers', () => {
  test('accepts a server that never evicts', async () => {
    const client = redis.open()
    await checkServers([client], 'single')
    await client.config('SET', 'maxmemory', '1gb')
    await checkServers([client], 'single')
  })

  test('refuses an evicting server with the reason and the cure, and accepts it where there is no limit', async () => {
    const client = redis.open()
    await client.config('SET', 'maxmemory', '1gb')
    for (const policy of ['allkeys-lru', 'volatile-ttl']) {
      await client.config('SET', 'maxmemory-policy', policy)
      const refusal = checkServers([client], 'single')
      await expect(refusal).rejects.toThrow(EvictionPolicyError)
      await expect(refusal).rejects.toThrow(new RegExp(`${policy}.*config set maxmemory-policy noeviction`))
    }
    await client.config('SET', 'maxmemory', '0')
    await checkServers([client], 'single')
    await client.config('SET', 'maxmemory-policy', 'noeviction')
  })

  test('needs no CONFIG', async () => {
    const admin = redis.open()
    await admin.call('acl', ['setuser', 'default', '-config'])
    const client = redis.open()
    await checkServers([client], 'single')
    expect(await readServer(client)).toMatchObject({
      evictionPolicy: 'noeviction',
      maxMemoryBytes: 0,
    })
    await admin.call('acl', ['setuser', 'default', '+config'])
  })
})

test('a server that does not tell its limit counts as one that has it', () => {
  const facts = {
    product: 'Redis',
    version: '7.2.0',
    supported: true,
    usedMemoryBytes: 1,
    maxMemoryBytes: NaN,
  } as const
  expect(evicts({ ...facts, evictionPolicy: 'allkeys-lru' })).toBe(true)
  expect(evicts({ ...facts, evictionPolicy: '' })).toBe(false)
})
