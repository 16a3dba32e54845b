import { once } from 'node:events'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Proxy } from '../../chaos/proxy.ts'
import { ConnectionClosedError } from '../../src/errors.ts'
import { openClient } from '../../src/store/client.ts'
import { redisTarget } from '../../src/store/target.ts'
import { freePort, startRedis } from '../support/redis.ts'
import type { RedisProcess } from '../support/redis.ts'
import { until } from '../support/until.ts'

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

test('a connection whose connector gave up once comes back, unless it was closed', async () => {
  const client = openClient(redisTarget(redis.url), { name: 'millrace:test', silenceMs: 5000 })
  client.on('error', () => undefined)
  // Not `once`, which an error would reject.
  const happening = (event: 'end' | 'ready') => new Promise(resolve => client.once(event, resolve))
  await client.ping()
  const connector = Reflect.get(client, 'connector') as { connect: () => Promise<unknown> }
  const connect = connector.connect.bind(connector)
  // As Sentinel's does when it is told to leave while it asks for the master.
  connector.connect = () => {
    connector.connect = connect
    return Promise.reject(new Error('Connection is closed.'))
  }
  const ended = happening('end')
  client.disconnect(true)
  await ended
  await happening('ready')
  expect(await client.ping()).toBe('PONG')

  const closed = happening('end')
  client.disconnect()
  await closed
  await new Promise(resolve => setTimeout(resolve, 300))
  expect(client.status).toBe('end')
})

test.each(['connecting', 'reconnecting'] as const)(
  'a connection that is closed for good while it is %s rejects what waits, and what comes',
  async status => {
    const url = `redis://127.0.0.1:${await freePort()}`
    const client = openClient(redisTarget(url), { name: 'millrace:test', silenceMs: 5000 })
    client.on('error', () => undefined)
    const ended = new Promise(resolve => client.once('end', resolve))
    const waiting = client.ping()
    await until(() => client.status === status, { what: `it is ${status}`, everyMs: 1 })
    client.disconnect()
    client.disconnect()
    await expect(waiting).rejects.toBeInstanceOf(ConnectionClosedError)
    await ended
    await expect(client.ping()).rejects.toBeInstanceOf(ConnectionClosedError)
  },
)

test('an instance with a commandTimeout and numbers as strings gets a connection with our own settings', async () => {
  const instance = new Redis({ path: redis.socketPath, commandTimeout: 50, stringNumbers: true, lazyConnect: true })
  const client = openClient(redisTarget(instance), { name: 'millrace:test', silenceMs: 5000 })
  expect(await client.blmove('nothing', 'nowhere', 'RIGHT', 'LEFT', 0.3)).toBe(null)
  expect(await client.incr('count')).toBe(1)
  client.disconnect()
})

test('an instance of Sentinel is watched for a former master that still takes writes', () => {
  const instance = new Redis({ sentinels: [{ host: '127.0.0.1', port: 1 }], name: 'main', lazyConnect: true })
  const client = openClient(redisTarget(instance), { name: 'millrace:test', silenceMs: 5000 })
  client.on('error', () => undefined)
  expect(client.options).toMatchObject({ failoverDetector: true, sentinelMaxConnections: 1 })
  client.disconnect()
})
