import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  connect,
  ConnectionClosedError,
  EvictionPolicyError,
  RedisRefusesWritesError,
  RedisUnreachableError,
  TaskModuleError,
  TaskQuarantinedError,
  UsageError,
  WorkerStartError,
} from '../../src/index.ts'
import { Proxy } from '../../chaos/proxy.ts'
import { caught } from '../support/caught.ts'
import { spawnNode } from '../support/process.ts'
import { startRedis } from '../support/redis.ts'
import type { RedisProcess } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { tasksFile } from './support/bench.ts'
import { lethal, square, wait } from './support/tasks.ts'

let redis: RedisProcess
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())

test('asks again when the connection breaks while the server is looked at', async () => {
  const proxy = new Proxy(redis.socketPath)
  const url = await proxy.listen()
  proxy.setMode({ kind: 'delay', ms: 100 })
  const monitor = createConnection(redis.socketPath)
  let seen = ''
  monitor.on('data', data => (seen += data.toString().toLowerCase()))
  monitor.write('MONITOR\r\n')
  await until(() => seen.includes('+ok'), { what: 'Redis tells what it runs' })
  const connecting = connect({ redis: url, tasks: tasksFile, threads: 0 })
  await until(() => seen.includes('"info" "server"'), { what: 'it is looked at', everyMs: 5 })
  // The answer is still on its way.
  proxy.cut()
  proxy.setMode({ kind: 'pass' })
  const mill = await connecting
  expect(await mill.workers()).toEqual([])
  await mill.close()
  monitor.destroy()
  await proxy.close()
})

/** The processes that this one has started and that still run the local worker's entry. */
function localWorkers(): number[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(Number)
    .filter(pid => {
      try {
        const parent = /^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
        return Number(parent) === process.pid && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('worker/local')
      } catch {
        return false
      }
    })
}

describe('connect', () => {
  test('says where it looked and what to do when Redis is not there', async () => {
    const error = await caught(connect({ redis: 'redis://127.0.0.1:1', connectTimeoutMs: 300 }))
    expect(error).toBeInstanceOf(RedisUnreachableError)
    expect((error as Error).message).toMatch(/127\.0\.0\.1:1 could not be reached within 0\.3 s.*embedded/)
  })

  test('says at once that a password is wrong, or missing', async () => {
    await using guarded = await startRedis({ port: true })
    await guarded.cli('CONFIG', 'SET', 'requirepass', 'right')
    for (const password of ['', ':wrong@']) {
      const started = performance.now()
      const error = await caught(connect({ redis: `redis://${password}127.0.0.1:${guarded.port ?? 0}` }))
      expect(error).toBeInstanceOf(RedisUnreachableError)
      expect((error as Error).message).toMatch(
        /refuses this user or password \((WRONGPASS|NOAUTH) .*Give the right ones/,
      )
      // Not when its patience of ten seconds is over.
      expect(performance.now() - started).toBeLessThan(8000)
    }
  })

  test('says what a user of Redis who may not do everything is refused', async () => {
    const mill = await connect({ redis: redis.url, tasks: tasksFile, threads: 0 })
    const job = mill.map(square, [1], { id: 'refused', detached: true })
    await job.submitted()
    await mill.close()
    await redis.cli('ACL', 'SETUSER', 'clerk', 'on', '>clerk', '~*', '&*', '+@all', '-persist')
    const clerk = await connect({ redis: { path: redis.socketPath, username: 'clerk', password: 'clerk' }, threads: 0 })
    const error = await caught(clerk.attach('refused'))
    expect(error).toBeInstanceOf(RedisRefusesWritesError)
    expect((error as Error).message).toMatch(
      /^Redis refused a command .*can't run this command.* Allow its user all commands/,
    )
    await clerk.close()
  })

  test('refuses a server that would delete waiting tasks', async () => {
    await redis.cli('CONFIG', 'SET', 'maxmemory', '100mb')
    await redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
    expect(await caught(connect({ redis: redis.url }))).toBeInstanceOf(EvictionPolicyError)
    await redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
    await redis.cli('CONFIG', 'SET', 'maxmemory', '0')
  })

  test.each([
    { threads: 2 },
    { threads: -1 },
    { namespace: 'no spaces' },
    { queue: '{braces}' },
    { connectTimeoutMs: NaN },
    { redis: { keyPrefix: 'x' } },
  ])('refuses options that can not be: %j', async options => {
    expect(await caught(connect({ redis: redis.url, ...options }))).toBeInstanceOf(UsageError)
  })

  test('a task module that is not there, or that throws, is said at once', async () => {
    expect(await caught(connect({ redis: redis.url, tasks: '/nowhere/tasks.ts' }))).toBeInstanceOf(TaskModuleError)
    const folder = mkdtempSync(join(tmpdir(), 'millrace-bad-'))
    writeFileSync(join(folder, 'tasks.mjs'), 'throw new Error("not today")')
    const error = await caught(connect({ redis: redis.url, tasks: join(folder, 'tasks.mjs'), threads: 1 }))
    expect(error).toBeInstanceOf(TaskModuleError)
    expect((error as Error).message).toContain('not today')
    rmSync(folder, { recursive: true })
    await until(() => localWorkers().length === 0, { what: 'no worker process is left' })
  })

  test('a local worker whose process can’t be started is said, after a few attempts', async () => {
    const { execPath } = process
    process.execPath = '/nowhere/node'
    try {
      const error = await caught(connect({ redis: redis.url, tasks: tasksFile, threads: 1 }))
      expect(error).toBeInstanceOf(WorkerStartError)
      expect((error as Error).message).toContain('/nowhere/node')
    } finally {
      process.execPath = execPath
    }
  })

  test('queues and namespaces do not see each other', async () => {
    await using mill = await connect({ redis: redis.url, tasks: tasksFile, threads: 1, queue: 'one' })
    await using other = await connect({ redis: redis.url, tasks: tasksFile, queue: 'two' })
    expect(await mill.run(square, 2)).toBe(4)
    expect(await other.workers()).toEqual([])
    const waiting = other.map(square, [1])
    await until(async () => (await waiting.progress()).waitingFor?.startsWith('no worker is running'), {
      what: 'it says that nobody is there',
    })
  })

  test('a local worker that is killed is started again, and its work is done', async () => {
    const mill = await connect({ redis: redis.url, tasks: tasksFile, threads: 2, namespace: 'killed' })
    const results = mill
      .map(
        wait,
        Array.from({ length: 150 }, (_, value) => ({ ms: 20, value })),
      )
      .results()
    await until(
      async () => (await redis.cli('EXISTS', '{killed:default:0}:lane')) === '1' && localWorkers().length === 1,
      { what: 'it runs' },
    )
    const [pid = 0] = localWorkers()
    process.kill(pid, 'SIGKILL')
    expect(await results).toEqual(Array.from({ length: 150 }, (_, value) => value))
    expect(localWorkers()).not.toContain(pid)
    await mill.close()
    expect(localWorkers()).toEqual([])
    expect(() => mill.submit(square, 1)).toThrow(ConnectionClosedError)
  })

  test('a task that kills the local worker is set aside with the signal and its last lines', async () => {
    const mill = await connect({ redis: redis.url, tasks: tasksFile, threads: 1, namespace: 'lethal' })
    const error = await caught(mill.run(lethal, 'goodbye'))
    expect(error).toBeInstanceOf(TaskQuarantinedError)
    expect((error as TaskQuarantinedError).evidence.join('\n')).toMatch(
      /which was ended by SIGKILL[^]*its input was 'goodbye'[^]*MB of memory[^]*log: thread 0: lethal \S+: goodbye/,
    )
    // Its worker has been started again.
    expect(await mill.run(square, 3)).toBe(9)
    await mill.close()
  })

  test('in a task module that a worker loads is refused, with what to do', async () => {
    const file = join(mkdtempSync(join(fileURLToPath(new URL('.', import.meta.url)), '.nested-')), 'tasks.ts')
    writeFileSync(
      file,
      `import { connect, task } from '../../../src/index.ts'\nexport const one = task('one', () => 1)\nawait connect()\n`,
    )
    try {
      const error = await caught(connect({ redis: redis.url, tasks: file, threads: 1 }))
      expect((error as Error).message).toMatch(/module of their own/)
    } finally {
      rmSync(join(file, '..'), { recursive: true })
    }
  })
})

test('without any Redis it brings its own, and a program that closes ends by itself', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-project-'))
  const root = fileURLToPath(new URL('../..', import.meta.url))
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  cpSync(tasksFile, join(folder, 'tasks.ts'))
  const index = join(root, 'src/index.ts')
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  writeFileSync(
    join(folder, 'tasks.ts'),
    `import { task } from ${JSON.stringify(index)}\nexport const square = task('square', (x: number) => x * x)\n`,
  )
  writeFileSync(
    join(folder, 'main.ts'),
    `import { connect, range } from ${JSON.stringify(index)}
import { square } from './tasks.ts'
await using mill = await connect({ tasks: new URL('./tasks.ts', import.meta.url) })
console.log('first', await mill.run(square, 12))
console.log('all', (await mill.map(square, range(1000)).results()).length)
`,
  )
  const program = spawnNode(['--import', 'tsx', 'main.ts'], { cwd: folder, env: { REDIS_URL: undefined } })
  await program.waitForLine(/first 144/, 25_000)
  await program.waitForLine(/all 1000/)
  expect(await program.exited).toEqual({ code: 0, signal: null })
  // Its Redis goes some seconds after the last program that used it.
  await until(() => !isServed(folder), { what: 'the embedded Redis is gone' })
  rmSync(folder, { recursive: true, force: true })
})

/** Whether a redis-server runs on the project's data. */
function isServed(folder: string): boolean {
  return readdirSync('/proc').some(name => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(folder)
    } catch {
      return false
    }
  })
}
