import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { findRedisServer } from '../../src/embedded/embedded-redis.ts'
import { isNewEnough, parseVersion } from '../../src/embedded/redis-program.ts'
import { RedisServerMissingError, RedisVersionError } from '../../src/errors.ts'
import { Sandbox } from './support/sandbox.ts'

describe('findRedisServer', () => {
  let root: string

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'mr-'))
  })

  afterEach(() => {
    vi.unstubAllEnvs()
    rmSync(root, { recursive: true })
  })

  it('finds the server of this machine', async () => {
    const found = await findRedisServer()
    expect(isNewEnough(found)).toBe(true)
    expect(found.program).toMatch(/^\/.*-server$/)
  })

  it('says what to install where there is none', async () => {
    vi.stubEnv('PATH', root)
    await expect(findRedisServer()).rejects.toBeInstanceOf(RedisServerMissingError)
    await expect(findRedisServer()).rejects.toThrow(/apt install redis-server/)
  })

  it('passes over what is no server', async () => {
    program('a', 'redis-server', 'hello')
    vi.stubEnv('PATH', join(root, 'a'))
    await expect(findRedisServer()).rejects.toBeInstanceOf(RedisServerMissingError)
  })

  it('refuses a server that is too old', async () => {
    program('a', 'redis-server', 'Redis server v=6.2.14 sha=00000000:0 malloc=jemalloc-5.1.0 bits=64 build=1')
    vi.stubEnv('PATH', join(root, 'a'))
    await expect(findRedisServer()).rejects.toBeInstanceOf(RedisVersionError)
  })

  it('prefers any server that is new enough to one that is too old', async () => {
    program('a', 'redis-server', 'Redis server v=6.2.14 sha=00000000:0')
    const good = program('b', 'valkey-server', 'Valkey server v=8.0.2 sha=00000000:0')
    vi.stubEnv('PATH', [join(root, 'a'), join(root, 'b')].join(delimiter))
    expect(await findRedisServer()).toEqual({ program: good, version: '8.0.2', kind: 'valkey' })
  })

  it('lets nobody acquire where there is no server, and leaves nothing running', async () => {
    const sandbox = new Sandbox()
    try {
      vi.stubEnv('PATH', root)
      await expect(sandbox.acquire()).rejects.toBeInstanceOf(RedisServerMissingError)
    } finally {
      vi.unstubAllEnvs()
      await sandbox.close()
    }
  })

  function program(folder: string, name: string, answer: string): string {
    const path = join(root, folder, name)
    mkdirSync(join(root, folder))
    writeFileSync(path, `#!/bin/sh\necho '${answer}'\n`)
    chmodSync(path, 0o755)
    return path
  }
})

describe('a version', () => {
  it.each([
    [
      'redis-server',
      'Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d',
      'redis',
      '7.0.15',
      true,
    ],
    ['redis-server', 'Redis server v=6.0.16 sha=00000000:0', 'redis', '6.0.16', false],
    ['redis-server', 'Redis server v=10.1.0 sha=00000000:0', 'redis', '10.1.0', true],
    ['redis-server', 'Valkey server v=8.0.1 sha=00000000:0', 'valkey', '8.0.1', true],
    ['valkey-server', 'Server v=7.2.5 sha=00000000:0', 'valkey', '7.2.5', true],
    ['valkey-server', 'Server v=7.0.0 sha=00000000:0', 'valkey', '7.0.0', false],
  ])('is read and judged: %s, %s', (name, answer, kind, version, newEnough) => {
    const found = parseVersion(`/usr/bin/${name}`, answer)
    expect(found).toEqual({ program: `/usr/bin/${name}`, kind, version })
    expect(found && isNewEnough(found)).toBe(newEnough)
  })
})
