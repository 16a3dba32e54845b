import { createRequire } from 'node:module'
import { Cluster, Redis } from 'ioredis'
import type * as ioredis from 'ioredis'
import { describe, expect, test } from 'vitest'
import { UsageError } from '../../src/errors.ts'
import { describeTarget, portableTarget, redisTarget } from '../../src/store/target.ts'

const require = createRequire(import.meta.url)

/** As a program has that depends on another version than we do. */
function anotherCopy(): typeof ioredis {
  const { cache, resolve } = require
  for (const file of Object.keys(cache)) if (file.includes('/ioredis/')) Reflect.deleteProperty(cache, file)
  return require(resolve('ioredis')) as typeof ioredis
}

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

  test.each([
    ['redis://one:7000,two:7001?cluster', ['one:7000', 'two:7001'], {}],
    ['rediss://me:secret@one?cluster', ['one:6379'], { username: 'me', password: 'secret', tls: {} }],
    ['redis://[::1]:7000,[::2]:7001/0?cluster', ['::1:7000', '::2:7001'], { db: 0 }],
  ])('%s is a Cluster', (url, nodes, options) => {
    const target = redisTarget(url)
    expect(target).toMatchObject({ kind: 'cluster', options })
    expect(target.kind === 'cluster' && target.nodes.map(({ host, port }) => `${host}:${port}`)).toEqual(nodes)
  })

  test('takes a Cluster by its nodes in every form, and by an instance that has not connected', () => {
    const nodes = [{ host: 'one', port: 7000 }, 'redis://two:7001', 'three', 7003]
    const instance = new Cluster(nodes, { lazyConnect: true, redisOptions: { password: 'secret' } })
    const expected = ['one:7000', 'two:7001', 'three:6379', '127.0.0.1:7003']
    for (const input of [{ cluster: nodes, options: { redisOptions: { password: 'secret' } } }, instance]) {
      const target = structuredClone(portableTarget(redisTarget(input)))
      expect(target).toMatchObject({ kind: 'cluster', options: { password: 'secret' } })
      expect(target.kind === 'cluster' && target.nodes.map(({ host, port }) => `${host}:${port}`)).toEqual(expected)
    }
    expect(() => redisTarget({ cluster: nodes, options: { keyPrefix: 'app:' } })).toThrow(/keyPrefix/)
    expect(() => redisTarget({ cluster: [] })).toThrow(UsageError)
  })

  test('takes Sentinels', () => {
    expect(redisTarget('redis://:secret@one,two:26380/2?sentinel=main')).toEqual({
      kind: 'single',
      options: {
        password: 'secret',
        db: 2,
        name: 'main',
        sentinels: [
          { host: 'one', port: 26_379 },
          { host: 'two', port: 26_380 },
        ],
      },
    })
  })

  test.each([
    'not a url',
    'http://box',
    'redis://box/three',
    'redis://one:7000,two:7001',
    'redis://one:7000,two:x?cluster',
    'redis://one:7000/3?cluster',
    'redis://:100%@box',
    'unix:///a%b',
    'redis://me:secret@one,two',
    'redis://me:secret@box/three',
    'redis://me:sec/ret@box',
    'me:secret@box',
    'http://me:secret@box',
  ])('refuses %j, and shows no password', url => {
    expect(() => redisTarget(url)).toThrow(UsageError)
    expect(() => redisTarget(url)).not.toThrow(/100|sec/)
  })

  test('takes the options of an instance, and refuses a keyPrefix', () => {
    const instance = new Redis({ host: 'box', lazyConnect: true })
    expect(redisTarget(instance)).toMatchObject({ kind: 'single', options: { host: 'box' } })
    expect(() => redisTarget({ keyPrefix: 'app:' })).toThrow(/keyPrefix "app:".*namespace/)
  })

  test('knows an instance of another copy of ioredis', () => {
    const other = anotherCopy()
    expect(other.Redis).not.toBe(Redis)
    const instance = new other.Redis({ host: 'box', port: 7000, lazyConnect: true })
    expect(redisTarget(instance)).toMatchObject({ kind: 'single', options: { host: 'box', port: 7000 } })
    const prefixed = new other.Redis({ keyPrefix: 'app:', lazyConnect: true })
    expect(() => redisTarget(prefixed)).toThrow(/keyPrefix "app:"/)
    const cluster = new other.Cluster(['redis://one:7000'], { lazyConnect: true, redisOptions: { password: 'secret' } })
    expect(redisTarget(cluster)).toMatchObject({
      kind: 'cluster',
      nodes: [{ host: 'one', port: 7000 }],
      options: { password: 'secret' },
    })
  })

  test('takes a URL object', () => {
    expect(redisTarget(new URL('redis://me:secret@box:7000/3'))).toEqual(redisTarget('redis://me:secret@box:7000/3'))
  })

  test.each([
    ['options of another client', { url: 'redis://box', password: 'secret' }],
    ['options whose host is missing', { host: undefined, db: 2 }],
    ['no options', {}],
  ])('refuses %s, rather than to go to this machine', (_, options) => {
    expect(() => redisTarget(options)).toThrow(UsageError)
    expect(() => redisTarget(options)).toThrow(/does not say where Redis is: give a URL/)
  })
})

test('describeTarget shows no password', () => {
  for (const url of ['redis://me:secret@box:1', 'unix:///tmp/s'])
    expect(describeTarget(redisTarget(url))).not.toMatch(/secret|me:/)
})

describe('of what says how a connection behaves nothing is taken', () => {
  const behaviour = {
    commandTimeout: 100,
    blockingTimeout: 100,
    enableOfflineQueue: false,
    stringNumbers: true,
    readOnly: true,
    retryStrategy: null,
    lazyConnect: true,
  }
  const where = { host: 'box', port: 7000, family: 6, password: 'secret', tls: { ca: 'ca' } }

  test('of options', () => {
    expect(redisTarget({ ...where, ...behaviour })).toEqual({ kind: 'single', options: where })
  })

  test('of an instance, which has a value for everything', () => {
    expect(Object.keys(redisTarget(new Redis({ ...where, ...behaviour })).options).sort()).toEqual(
      [
        ...Object.keys(where),
        'db',
        'keepAlive',
        'noDelay',
        'protocol',
        'enableTLSForSentinelMode',
        'updateSentinels',
      ].sort(),
    )
  })

  test('of a Cluster', () => {
    const redisOptions = { ...behaviour, password: 'secret' }
    expect(redisTarget({ cluster: [7000], options: { redisOptions } }).options).toEqual({ password: 'secret' })
  })
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
    const target = redisTarget({ host: 'box', tls: { checkServerIdentity: () => undefined } })
    expect(() => portableTarget(target)).toThrow(/tls\.checkServerIdentity is a function/)
  })
})
