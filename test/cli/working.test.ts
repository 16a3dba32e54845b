import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connect, task, TaskCancelledError } from '../../src/index.ts'
import { startRedis, type RedisProcess } from '../support/redis.ts'
import { compiled, runCli, startCli } from './support/cli.ts'

let redis: RedisProcess
let project: string

beforeAll(async () => {
  await compiled()
  redis = await startRedis()
  project = await mkdtemp(join(tmpdir(), 'millrace-project-'))
  await mkdir(join(project, 'node_modules'))
  await symlink(fileURLToPath(new URL('../../', import.meta.url)), join(project, 'node_modules/millrace'))
  await writeFile(join(project, 'package.json'), '{ "type": "module" }\n')
  await writeFile(
    join(project, 'tasks.ts'),
    `import { spawnSync } from 'node:child_process'
     import { task } from 'millrace'
     export const shout = task('shout', (text: string): string => text.toUpperCase())
     export const stuck = task('stuck', (seconds: number, ctx) => {
       ctx.log('begun')
       spawnSync('sleep', [String(seconds)])
     })
     export const slow = task('slow', (ms: number, ctx) => {
       ctx.log('begun')
       return new Promise<number>(resolve => setTimeout(resolve, ms, ms))
     })\n`,
  )
  await writeFile(
    join(project, 'main.ts'),
    `import { connect } from 'millrace'
     import { shout } from './tasks.js'
     const [word = 'nothing', exitCode = '0'] = process.argv.slice(2)
     await using mill = await connect({ tasks: new URL('./tasks.ts', import.meta.url), threads: 1 })
     console.log(process.env['REDIS_URL'], await mill.run(shout, word))
     process.exitCode = Number(exitCode)\n`,
  )
  await writeFile(join(project, 'wait.mjs'), `console.log('waiting'); setInterval(() => undefined, 1000)\n`)
  for (const [name, text] of [
    ['a.txt', 'The mill grinds. The mill waits.'],
    ['b.md', 'mill race'],
  ] as const) {
    await mkdir(join(project, 'texts'), { recursive: true })
    await writeFile(join(project, 'texts', name), text)
  }
})

afterAll(async () => {
  await redis.stop()
  await rm(project, { recursive: true })
})

describe('run', () => {
  test('gives the program its arguments and the Redis, and takes over its exit code', async () => {
    const { code, stdout } = await runCli(['run', 'main.ts', '--redis', redis.url, '--', 'hello', '7'], {
      cwd: project,
    })
    expect({ code, stdout }).toEqual({ code: 7, stdout: `${redis.url} HELLO` })
  })

  test.each([
    ['flags', ['--namespace', 'staging', '--queue', 'slow'], {}],
    ['environment', [], { MILLRACE_NAMESPACE: 'staging', MILLRACE_QUEUE: 'slow' }],
  ])('the program works with the fleet that the %s name', async (_, flags, env) => {
    await redis.cli('FLUSHALL')
    const { code } = await runCli(['run', 'main.ts', '--redis', redis.url, ...flags], { cwd: project, env })
    expect(code).toBe(0)
    const keys = (await redis.cli('KEYS', '*')).split('\n')
    expect(keys).toContain('{staging:slow:0}:lane')
    expect(keys.filter(key => !key.startsWith('{staging:slow:0}:'))).toEqual([])
  })

  test('hands SIGTERM on, and exits with 143', async () => {
    const run = startCli(['run', 'wait.mjs'], { cwd: project })
    await run.waitForLine(/^waiting$/)
    run.kill('SIGTERM')
    expect((await run.exited).code).toBe(143)
  })
})

describe('worker', () => {
  test('says when it is ready, takes part, and drains on SIGTERM with exit code 0', async () => {
    const worker = startCli(['worker', 'tasks.ts', '--threads', '2', '--redis', redis.url], { cwd: project })
    const [line] = await worker.waitForLine(/^ready: worker .*/)
    expect(line).toMatch(/^ready: worker \S+ · 2 threads · tasks shout, slow, stuck · code [0-9a-f]{8} · Redis at \S+$/)
    await writeFile(
      join(project, 'slow.ts'),
      `import { connect } from 'millrace'
       import { slow } from './tasks.js'
       await using mill = await connect({ tasks: new URL('./tasks.ts', import.meta.url), threads: 0 })
       console.log('result', await mill.run(slow, 1500))\n`,
    )
    const driver = startCli(['run', 'slow.ts', '--redis', redis.url], { cwd: project })
    await worker.waitForLine(/begun/)
    worker.kill('SIGTERM')
    await worker.waitForLine(/^drained: worker /)
    expect(await worker.exited).toEqual({ code: 0, signal: null })
    expect(worker.stdout).toEqual([])
    await driver.waitForLine(/^result 1500$/)
    expect((await driver.exited).code).toBe(0)
  })

  test('ends at once on a second signal, whatever still runs', async () => {
    const there = ['--redis', redis.url, '--queue', 'stubborn']
    const worker = startCli(['worker', 'tasks.ts', '--threads', '1', ...there], { cwd: project })
    await worker.waitForLine(/^ready/)
    await writeFile(
      join(project, 'long.ts'),
      `import { connect } from 'millrace'
       import { slow } from './tasks.js'
       await using mill = await connect({ tasks: new URL('./tasks.ts', import.meta.url), queue: 'stubborn' })
       await mill.run(slow, 60_000)\n`,
    )
    const driver = startCli(['run', 'long.ts', '--redis', redis.url], { cwd: project })
    try {
      await worker.waitForLine(/begun/)
      worker.kill('SIGTERM')
      await worker.waitForLine(/^draining/)
      worker.kill('SIGTERM')
      expect((await worker.exited).code).toBe(143)
    } finally {
      // Which is handed on: SIGKILL would leave the program itself behind.
      driver.kill('SIGTERM')
      await driver.exited
    }
  })

  test('ends at once on a second signal, also where one process runs native code', async () => {
    const there = ['--redis', redis.url, '--queue', 'native']
    const worker = startCli(['worker', 'tasks.ts', '--threads', '1', '--no-restart', ...there], { cwd: project })
    await worker.waitForLine(/^ready/)
    await using mill = await connect({
      redis: redis.url,
      queue: 'native',
      tasks: join(project, 'tasks.ts'),
      threads: 0,
    })
    const handle = mill.submit(
      task('stuck', (seconds: number) => seconds),
      30,
    )
    const result = handle.result().catch((error: unknown) => error)
    await worker.waitForLine(/begun/)
    worker.kill('SIGTERM')
    await worker.waitForLine(/^draining/)
    worker.kill('SIGTERM')
    expect(await worker.exited).toEqual({ code: null, signal: 'SIGTERM' })
    await handle.cancel()
    expect(await result).toBeInstanceOf(TaskCancelledError)
  })

  test('refuses a module without tasks, and says what is missing', async () => {
    await writeFile(join(project, 'none.ts'), 'export const answer = 42\n')
    const { code, stderr } = await runCli(['worker', 'none.ts', '--redis', redis.url], { cwd: project })
    expect(code).toBe(1)
    expect(stderr).toMatch(/^error TASK_MODULE: /)
    expect(stderr).not.toMatch(/\n +at /)
  })

  test('refuses a Redis that may delete waiting tasks', async () => {
    await using evicting = await startRedis({ config: { 'maxmemory-policy': 'allkeys-lru', maxmemory: '50mb' } })
    const { code, stderr } = await runCli(['worker', '--demo', '--redis', evicting.url])
    expect(code).toBe(1)
    expect(stderr).toMatch(/^error REDIS_EVICTS: /)
  })

  test('in plain-Redis mode answers what redis-cli pushes', async () => {
    const names = ['--plain-task', 'shout', '--plain-list', 'task_queue', '--plain-results', 'result_hash']
    const worker = startCli(['worker', 'tasks.ts', '--threads', '1', '--redis', redis.url, ...names], { cwd: project })
    await worker.waitForLine(
      /^ready: worker \S+ · 1 thread · task shout · List task_queue → Hash result_hash · Redis at /,
    )
    await redis.cli('LPUSH', 'task_queue', 'task1')
    await expect.poll(() => redis.cli('HGET', 'result_hash', 'task1'), { timeout: 10_000 }).toBe('TASK1')
    worker.kill('SIGTERM')
    expect((await worker.exited).code).toBe(0)
  })
})

describe('demo', () => {
  const sizes = ['texts', '--primes-below', '10000000']

  test('checks its answers against one thread and prints them as a table', async () => {
    const { code, stdout, stderr } = await runCli(['demo', ...sizes, '--threads', '2', '--redis', redis.url], {
      cwd: project,
    })
    expect(code).toBe(0)
    expect(stdout).toMatch(/^primes below 10⁷ +664,579 +✓ published, one thread +4 /m)
    expect(stdout).toMatch(/^words of 2 files +8 +✓ one thread +1 /m)
    expect(stdout).toContain('mill 3 · the 2')
    expect(stderr).toMatch(/^Workers can join from other terminals: +millrace worker --demo --redis /m)
  })

  test('is done by workers started elsewhere alone, with data as JSON', async () => {
    const there = ['--redis', redis.url, '--queue', 'elsewhere']
    const demo = startCli(['demo', ...sizes, '--threads', '0', '--json', ...there], { cwd: project })
    await demo.waitForLine(/^Counting the primes/)
    const worker = startCli(['worker', '--demo', '--threads', '1', ...there])
    expect((await demo.exited).code).toBe(0)
    const { primes, words } = JSON.parse(demo.stdout.join('\n')) as Record<'primes' | 'words', Record<string, unknown>>
    expect(primes).toMatchObject({ answer: 664_579, correct: true, tasks: 4 })
    expect(words).toMatchObject({
      answer: 8,
      correct: true,
      tasks: 1,
      top: expect.arrayContaining([['mill', 3]]) as unknown,
    })
    worker.kill('SIGTERM')
    await worker.exited
  })

  test('is stopped by SIGINT with exit code 130, and leaves no job behind', async () => {
    const there = ['--redis', redis.url, '--queue', 'stopped']
    const demo = startCli(['demo', ...sizes, '--threads', '0', ...there], { cwd: project })
    await demo.waitForLine(/^Counting the primes/)
    demo.kill('SIGINT')
    expect((await demo.exited).code).toBe(130)
    expect((await runCli(['jobs', ...there, '--json'])).stdout).toBe('{"jobs":[],"quarantine":[]}')
  })
})
