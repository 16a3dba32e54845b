import { Redis } from 'ioredis'
import { describe, expect, test } from 'vitest'
import { UsageError } from '../../src/errors.ts'
import { describeTarget, portableTarget, redisTarget } from '../../src/store/target.ts'

describe('redisTarget', () => {
  const urls: readonly [url: string, options: Record<string, unknown>][] = [
    ['redis://box', { host: 'box', port: 6379, db: 0 }],
    ['redis://box:7000/3', { host: 'box', port: 7000, db: 3 }],
    ['redis://:p%40ss@box', { password: 'p@ss' }],
    ['redis://me:secret@box', { username: 'me', password: 'secret' }],
    ['rediss://box', { host: 'box', tls: {} }],
    ['redis://[::1]:7000', { host: '::1', port: 7000 }],
    ['unix:///tmp/redis.sock', { path: '/tmp/redis.sock', db: 0 }],
    ['unix:///tmp/redis.sock?db=2', { path: '/tmp/redis.sock', db: 2 }],
    ['/tmp/redis.sock', { path: '/tmp/redis.sock' }],
  ]
  test.each(urls)('%s', (url, options) => {
    const target = redisTarget(url)
    expect(target.kind).toBe('single')
    expect(target).toMatchObject({ options })
  })

  test.each(['not a url', 'http://box', 'redis://box/three'])('refuses %j', url => {
    expect(() => redisTarget(url)).toThrow(UsageError)
  })

  test('takes the options of an instance, and refuses a keyPrefix', () => {
    const instance = new Redis({ host: 'box', lazyConnect: true })
    expect(redisTarget(instance)).toMatchObject({ kind: 'single', options: { host: 'box' } })
    expect(() => redisTarget({ keyPrefix: 'app:' })).toThrow(/keyPrefix "app:".*namespace/)
  })
})

test('describeTarget shows no password', () => {
  for (const url of ['redis://me:secret@box:1', 'unix:///tmp/s'])
    expect(describeTarget(redisTarget(url))).not.toMatch(/secret|me:/)
})

describe('portableTarget', () => {
  test('can be sent to another process', () => {
    const target = portableTarget(
      redisTarget(new Redis({ host: 'box', lazyConnect: true, tls: { ca: Buffer.from('ca') } })),
    )
    expect(structuredClone(target)).toMatchObject({
      options: { host: 'box', tls: { ca: Uint8Array.from(Buffer.from('ca')) } },
    })
  })

  test('refuses what needs a function to connect', () => {
    const target = redisTarget({ tls: { checkServerIdentity: () => undefined } })
    expect(() => portableTarget(target)).toThrow(/tls\.checkServerIdentity is a function/)
  })
})
