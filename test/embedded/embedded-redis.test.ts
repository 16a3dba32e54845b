import { mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { EmbeddedRedisError, UsageError } from '../../src/errors.ts'
import { ask, configured, runId, Sandbox } from './support/sandbox.ts'

const LONG = { timeout: 15_000, interval: 20 }

describe('acquireEmbeddedRedis', { timeout: 60_000 }, () => {
  let sandbox: Sandbox

  beforeEach(() => {
    sandbox = new Sandbox()
  })

  afterEach(() => sandbox.close())

  it('gives one server to processes that acquire at the same instant', async () => {
    const holders = await Promise.all([sandbox.hold(), sandbox.hold(), sandbox.acquire(), sandbox.acquire()])
    const runIds = await Promise.all(holders.map(holder => runId(holder.socketPath)))
    expect(new Set(runIds).size).toBe(1)
    expect(await sandbox.servers()).toHaveLength(1)
    await vi.waitFor(() => {
      expect(sandbox.supervisors()).toHaveLength(1)
    }, LONG)
  })

  it('runs Redis on a private socket, with an append only file and without eviction', async () => {
    const { socketPath, dataDir } = await sandbox.acquire()
    const expected = {
      port: '0',
      unixsocketperm: '600',
      dir: dataDir,
      appendonly: 'yes',
      appendfsync: 'everysec',
      'aof-load-truncated': 'yes',
      save: '3600 1 300 100 60 10000',
      'maxmemory-policy': 'noeviction',
    }
    for (const [name, value] of Object.entries(expected))
      expect([name, await configured(socketPath, name)]).toEqual([name, value])
  })

  it('runs Redis without a locale, under which some do not start', async () => {
    for (const name of ['LANG', 'LC_ALL']) vi.stubEnv(name, 'xx_XX.UTF-8')
    await sandbox.acquire()
    // Redis writes over its own; it has that of its supervisor.
    const environment = readFileSync(`/proc/${await sandbox.supervisor()}/environ`, 'utf8').split('\0')
    expect(environment.filter(line => /^(LANG|LC_)/.test(line))).toEqual([])
    expect(environment.some(line => line.startsWith('PATH='))).toBe(true)
  })

  it('brings Redis back on the same socket with its data after kill -9', async () => {
    const redis = await sandbox.acquire()
    await ask(redis.socketPath, 'SET', 'kept', 'yes')
    const before = await runId(redis.socketPath)
    process.kill(await serverPid(redis.socketPath), 'SIGKILL')
    await vi.waitFor(async () => {
      expect(await runId(redis.socketPath)).not.toBe(before)
      expect(await ask(redis.socketPath, 'GET', 'kept')).toBe('yes')
    }, LONG)
    expect(await sandbox.servers()).toHaveLength(1)
  })

  it('waits for a server that is just being started again', async () => {
    const redis = await sandbox.acquire()
    await ask(redis.socketPath, 'SET', 'kept', 'yes')
    process.kill(await serverPid(redis.socketPath), 'SIGKILL')
    await vi.waitFor(() => expect(ask(redis.socketPath, 'PING')).rejects.toThrow(), { timeout: 2_000, interval: 1 })
    const second = await sandbox.acquire()
    expect(await ask(second.socketPath, 'GET', 'kept')).toBe('yes')
  })

  it('stops a linger after the last client has gone, and keeps the data for the next', async () => {
    const first = await sandbox.acquire()
    const second = await sandbox.acquire()
    await ask(first.socketPath, 'SET', 'kept', 'yes')
    await first.release()
    await first.release()
    expect(await ask(second.socketPath, 'PING')).toBe('PONG')
    await second.release()
    await expectStopped()
    const place = await sandbox.place()
    expect(readdirSync(place.runFolder)).toEqual([])
    expect(readdirSync(place.dataDir)).not.toContain('redis.pid')

    const third = await sandbox.acquire()
    expect(third.socketPath).toBe(first.socketPath)
    expect(await ask(third.socketPath, 'GET', 'kept')).toBe('yes')
  })

  it('does not stop while the linger lasts', async () => {
    const first = await sandbox.acquire({ lingerMs: 10_000 })
    const before = await runId(first.socketPath)
    await first.release()
    const second = await sandbox.acquire()
    expect(await runId(second.socketPath)).toBe(before)
  })

  it('serves whoever comes while the server is stopping', async () => {
    const first = await sandbox.acquire({ lingerMs: 0 })
    await ask(first.socketPath, 'SET', 'kept', 'yes')
    for (let round = 0; round < 3; round++) {
      const next = sandbox.acquire({ lingerMs: 0 })
      await first.release()
      expect(await ask((await next).socketPath, 'GET', 'kept')).toBe('yes')
      await (await next).release()
    }
  })

  it('frees the claim of a client that was killed', async () => {
    const holder = await sandbox.hold()
    expect(await sandbox.servers()).toHaveLength(1)
    holder.child.kill('SIGKILL')
    await expectStopped()
  })

  it('recovers when the supervisor was killed and nobody noticed', async () => {
    const holder = await sandbox.hold({ lingerMs: 60_000 })
    await ask(holder.socketPath, 'SET', 'kept', 'yes')
    const orphan = await serverPid(holder.socketPath)
    holder.child.kill('SIGSTOP')
    process.kill(await sandbox.supervisor(), 'SIGKILL')
    expect(await ask(holder.socketPath, 'PING')).toBe('PONG')

    const next = await sandbox.acquire()
    expect(next.socketPath).toBe(holder.socketPath)
    expect(await ask(next.socketPath, 'GET', 'kept')).toBe('yes')
    expect(await sandbox.servers()).toEqual([await serverPid(next.socketPath)])
    expect(await serverPid(next.socketPath)).not.toBe(orphan)
    expect(await sandbox.announcements()).toHaveLength(1)
  })

  it.each(['lost', 'starting', '1'])(
    'finds the Redis of a killed supervisor though the pid file is of no use: %s',
    async content => {
      const holder = await sandbox.hold()
      await ask(holder.socketPath, 'SET', 'kept', 'yes')
      const orphan = await serverPid(holder.socketPath)
      const { pidFile } = await sandbox.place()
      holder.child.kill('SIGSTOP')
      process.kill(await sandbox.supervisor(), 'SIGKILL')
      if (content === 'lost') rmSync(pidFile)
      else writeFileSync(pidFile, content)

      const next = await sandbox.acquire()
      expect(await ask(next.socketPath, 'GET', 'kept')).toBe('yes')
      expect(await sandbox.servers()).not.toContain(orphan)
      expect(await sandbox.servers()).toHaveLength(1)
    },
  )

  it('sweeps away what supervisors left that were killed before they were announced, once it is old', async () => {
    const place = await sandbox.place()
    const socket = (id: string) => join(place.runFolder, `${place.hash}-${id}.sock`)
    const draft = (id: string) => join(place.dataDir, `supervisor-${id}.json.new`)
    const old = new Date(Date.now() - 120_000)
    for (const file of [socket('00000000'), socket('00000001'), draft('00000000'), draft('00000001')])
      writeFileSync(file, '')
    for (const file of [socket('00000000'), draft('00000000')]) utimesSync(file, old, old)
    await sandbox.acquire()
    const left = [...readdirSync(place.runFolder), ...readdirSync(place.dataDir)].filter(name =>
      name.includes('0000000'),
    )
    expect(left).toEqual([`${place.hash}-00000001.sock`, 'supervisor-00000001.json.new'])
  })

  it('lets a client claim again by itself when the supervisor was killed', async () => {
    const redis = await sandbox.acquire()
    await ask(redis.socketPath, 'SET', 'kept', 'yes')
    const killed = await sandbox.supervisor()
    const before = await runId(redis.socketPath)
    process.kill(killed, 'SIGKILL')
    await vi.waitFor(async () => {
      expect(await runId(redis.socketPath)).not.toBe(before)
      expect(await ask(redis.socketPath, 'GET', 'kept')).toBe('yes')
    }, LONG)
    expect(await sandbox.supervisor()).not.toBe(killed)
  })

  it('starts with both the supervisor and Redis killed', async () => {
    const holder = await sandbox.hold()
    await ask(holder.socketPath, 'SET', 'kept', 'yes')
    const pids = [holder.child.pid ?? 0, await sandbox.supervisor(), await serverPid(holder.socketPath)]
    for (const pid of pids) process.kill(pid, 'SIGKILL')
    const place = await sandbox.place()
    expect(readdirSync(place.runFolder)).toHaveLength(2)

    const next = await sandbox.acquire()
    expect(await ask(next.socketPath, 'GET', 'kept')).toBe('yes')
    expect(readdirSync(place.runFolder)).toHaveLength(2)
  })

  it('lets alone a process that has got the pid of a dead Redis', async () => {
    const place = await sandbox.place()
    writeFileSync(place.pidFile, `${process.pid}\n`)
    const signals: string[] = []
    const onSignal = () => signals.push('SIGTERM')
    process.on('SIGTERM', onSignal)
    await sandbox.acquire()
    process.off('SIGTERM', onSignal)
    expect(signals).toEqual([])
  })

  it('starts beside announcements that nobody stands behind', async () => {
    const place = await sandbox.place()
    const dead = {
      pid: 1,
      host: 'gone',
      hash: place.hash,
      controlPath: join(place.runFolder, `${place.hash}-00000000.sock`),
    }
    writeFileSync(join(place.dataDir, 'supervisor-00000000.json'), JSON.stringify(dead))
    writeFileSync(join(place.dataDir, 'supervisor-00000001.json'), JSON.stringify({ ...dead, hash: 'copied' }))
    writeFileSync(join(place.dataDir, 'supervisor-00000002.json'), '{"pid":')
    writeFileSync(join(place.dataDir, 'supervisor-00000003.json'), '[]')
    const redis = await sandbox.acquire()
    expect(await ask(redis.socketPath, 'PING')).toBe('PONG')
  })

  it('refuses a folder whose supervisor lives out of reach', async () => {
    const place = await sandbox.place()
    const file = join(place.dataDir, 'supervisor-00000000.json')
    const elsewhere = {
      pid: 4711,
      host: 'other-host',
      hash: place.hash,
      controlPath: join(place.runFolder, 'unseen.sock'),
    }
    writeFileSync(file, JSON.stringify(elsewhere))
    const beats = setInterval(() => {
      utimesSync(file, new Date(), new Date())
    }, 200)
    try {
      await expect(sandbox.acquire()).rejects.toThrow(/process 4711 on other-host/)
    } finally {
      clearInterval(beats)
    }
    expect(await sandbox.servers()).toEqual([])
  })

  it('ends with its Redis when its project is deleted', async () => {
    const holder = await sandbox.hold()
    expect(await sandbox.servers()).toHaveLength(1)
    const supervisor = await sandbox.supervisor()
    holder.child.kill('SIGSTOP')
    const { dataDir } = await sandbox.place()
    rmSync(dataDir, { recursive: true })
    await vi.waitFor(() => {
      expect(sandbox.supervisors()).not.toContain(supervisor)
    }, LONG)
    expect(await sandbox.servers()).toEqual([])
  })

  it('says why Redis cannot start, and starts once that is mended', async () => {
    const first = await sandbox.acquire()
    await ask(first.socketPath, 'SET', 'kept', 'yes')
    await first.release()
    await expectStopped()
    const folder = join(first.dataDir, 'appendonlydir')
    const base = join(folder, readdirSync(folder).find(name => name.endsWith('.base.rdb')) ?? '')
    const good = readFileSync(base)
    writeFileSync(base, 'not a snapshot')

    const failure = await sandbox.acquire().catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(EmbeddedRedisError)
    expect(String(failure)).toMatch(/redis-check-aof --fix[^]*\n {2}\| .*format/i)

    writeFileSync(base, good)
    const second = await sandbox.acquire()
    expect(await ask(second.socketPath, 'GET', 'kept')).toBe('yes')
  })

  it('lets the strictest wish for appendfsync win, also after a restart of Redis', async () => {
    const relaxed = await sandbox.acquire()
    expect(await configured(relaxed.socketPath, 'appendfsync')).toBe('everysec')
    await sandbox.acquire({ appendfsync: 'always' })
    expect(await configured(relaxed.socketPath, 'appendfsync')).toBe('always')
    const before = await runId(relaxed.socketPath)
    process.kill(await serverPid(relaxed.socketPath), 'SIGKILL')
    await vi.waitFor(async () => {
      expect(await runId(relaxed.socketPath)).not.toBe(before)
    }, LONG)
    expect(await configured(relaxed.socketPath, 'appendfsync')).toBe('always')
  })

  it.each([-1, Number.NaN, 2 ** 31])('refuses a linger of %s', async lingerMs => {
    await expect(sandbox.acquire({ lingerMs })).rejects.toBeInstanceOf(UsageError)
  })

  it('refuses a project folder that does not exist', async () => {
    await expect(sandbox.acquire({ projectDir: join(sandbox.root, 'missing') })).rejects.toBeInstanceOf(
      EmbeddedRedisError,
    )
  })

  async function expectStopped(): Promise<void> {
    await vi.waitFor(async () => {
      expect(await sandbox.servers()).toEqual([])
      expect(sandbox.supervisors()).toEqual([])
    }, LONG)
  }
})

describe('a project with an awkward path', { timeout: 60_000 }, () => {
  it.each([
    ['longer than a socket path may be', 'long/'.repeat(60)],
    ['with spaces, quotes and letters of all kinds', `it's a "größeres" $HOME #1`],
  ])('has its Redis: %s', async (_, name) => {
    const sandbox = new Sandbox(name)
    try {
      const redis = await sandbox.acquire()
      expect(Buffer.byteLength(redis.socketPath)).toBeLessThan(100)
      expect(await configured(redis.socketPath, 'dir')).toBe(redis.dataDir)
      await redis.release()
    } finally {
      await sandbox.close()
    }
  })

  it('has its Redis in /tmp where TMPDIR is long', async () => {
    const sandbox = new Sandbox()
    try {
      const long = join(sandbox.root, 'long-'.repeat(20))
      mkdirSync(long)
      vi.stubEnv('TMPDIR', long)
      const redis = await sandbox.acquire()
      expect(redis.socketPath).toMatch(/^\/tmp\/millrace-\d+\//)
      expect(await ask(redis.socketPath, 'PING')).toBe('PONG')
    } finally {
      await sandbox.close()
    }
  })
})

async function serverPid(socketPath: string): Promise<number> {
  return Number(/process_id:(\d+)/.exec(await ask(socketPath, 'INFO', 'server'))?.[1])
}
