import { once } from 'node:events'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Proxy } from '../../chaos/proxy.ts'
import { openClient } from '../../src/store/client.ts'
import { redisTarget } from '../../src/store/target.ts'
import { startRedis } from '../support/redis.ts'
import type { RedisProcess } from '../support/redis.ts'

let redis: RedisProcess

beforeAll(async () => {
  redis = await startRedis()
})

afterAll(async () => {
  await redis.stop()
})

test('a connection that is closed while it subscribes again ends nobody’s process', async () => {
  const proxy = new Proxy(redis.socketPath)
  const client = openClient(redisTarget(await proxy.listen()), { name: 'millrace:test', silenceMs: 5000 })
  client.on('error', () => undefined)
  await client.subscribe('a channel')
  const unhandled: unknown[] = []
  const note = (reason: unknown) => unhandled.push(reason)
  const others = process.listeners('unhandledRejection')
  process.removeAllListeners('unhandledRejection')
  process.on('unhandledRejection', note)
  try {
    const ended = once(client, 'end')
    // It subscribes again in the same turn, and the answer never comes.
    client.once('ready', () => {
      proxy.setMode({ kind: 'swallow' })
      client.disconnect()
    })
    proxy.cut()
    await ended
    await new Promise(resolve => setImmediate(resolve))
    expect(unhandled).toEqual([])
  } finally {
    process.off('unhandledRejection', note)
    for (const listener of others) process.on('unhandledRejection', listener)
    await proxy.close()
  }
})
