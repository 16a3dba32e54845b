import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { task } from '../../src/code/task.ts'
import { connect } from '../../src/driver/connect.ts'
import { range } from '../../src/driver/range.ts'
import type { Mill } from '../../src/driver/types.ts'
import { JobCancelledError } from '../../src/errors.ts'
import { startRedis, type RedisProcess } from '../support/redis.ts'
import { compiled, runCli } from './support/cli.ts'

let redis: RedisProcess
let folder: string
let mill: Mill

const square = task('square', (x: number) => x * x)

beforeAll(async () => {
  await compiled()
  redis = await startRedis({ appendonly: 'everysec' })
  folder = await mkdtemp(join(tmpdir(), 'millrace-cli-'))
  const tasks = join(folder, 'tasks.ts')
  await writeFile(
    tasks,
    `import { task } from 'millrace'\nexport const square = task('square', (x: number) => x * x)\n`,
  )
  // The driver knows the code, and nobody runs it.
  mill = await connect({ redis: redis.url, tasks, threads: 0 })
})

afterAll(async () => {
  await mill.close()
  await redis.stop()
  await rm(folder, { recursive: true })
})

function cli(...args: string[]) {
  return runCli([...args, '--redis', redis.url])
}

describe('jobs', () => {
  test('of a queue without any says so, and where it looked', async () => {
    const { code, stdout } = await cli('jobs', '--queue', 'empty')
    expect({ code, stdout }).toEqual({ code: 0, stdout: `No jobs in queue empty of Redis at ${redis.socketPath}.` })
    expect(await cli('jobs', '--queue', 'empty', '--json')).toMatchObject({
      code: 0,
      stdout: '{"jobs":[],"quarantine":[]}',
      stderr: '',
    })
  })

  test('are listed with what each waits for, shown one by one, and cancelled', async () => {
    const job = mill.map(square, range(1_000), { id: 'squares', detached: true })
    const outcome = expect(job.results()).rejects.toBeInstanceOf(JobCancelledError)
    await job.submitted()

    const listed = JSON.parse((await cli('jobs', '--json')).stdout) as { jobs: Record<string, unknown>[] }
    expect(listed.jobs).toEqual([
      expect.objectContaining({
        id: 'squares',
        task: 'square',
        total: 1_000,
        submitted: 1_000,
        done: 0,
        failed: 0,
        waitsFor: expect.stringContaining('no worker is running') as string,
      }),
    ])
    const { stdout: table } = await cli('jobs')
    expect(table).toMatch(/^job +task .* waits for$/m)
    expect(table).toMatch(/^squares +square .*no worker is running; start one with `millrace worker`$/m)
    expect((await cli('jobs', 'squares')).stdout).toMatch(/^inputs +1,000 submitted of 1,000$/m)
    expect(JSON.parse((await cli('jobs', 'squares', '--json')).stdout)).toMatchObject({
      id: 'squares',
      state: 'open',
      quarantine: [],
    })

    expect(await cli('jobs', 'squares', '--cancel')).toMatchObject({ code: 0, stdout: 'Cancelled squares.' })
    await outcome
    const { code, stderr } = await cli('jobs', 'squares', '--cancel')
    expect(code).toBe(1)
    expect(stderr).toMatch(/^error JOB_NOT_FOUND: There is no job "squares"/)
    expect((await cli('jobs')).stdout).toMatch(/^No jobs/)
  })

  test('of another queue or namespace are not shown', async () => {
    const job = mill.map(square, range(10), { id: 'elsewhere', detached: true })
    const outcome = expect(job.results()).rejects.toThrow()
    await job.submitted()
    expect((await cli('jobs', '--queue', 'other')).stdout).toMatch(/^No jobs in queue other/)
    expect((await cli('jobs', 'elsewhere', '--namespace', 'other')).code).toBe(1)
    await job.cancel()
    await outcome
  })

  test('show quarantined tasks with their evidence', async () => {
    const entry = `${JSON.stringify({ at: Date.now(), worker: 'host:1/0', evidence: ['process vanished'] })}\nchunk`
    await redis.cli('HSET', '{millrace:poison:0}:quarantine', 'bad:7', entry)
    expect((await cli('jobs', '--queue', 'poison')).stdout).toMatch(/bad\/7 .*last on host:1\/0\n +process vanished$/)
    expect(JSON.parse((await cli('jobs', '--queue', 'poison', '--json')).stdout)).toMatchObject({
      quarantine: [{ job: 'bad', index: 7, evidence: ['process vanished'] }],
    })
  })
})

test('a snapshot is on disk when its command ends', async () => {
  await redis.cli('SET', 'something', 'to write')
  const { code, stdout, stderr } = await cli('snapshot', '--json')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const report = JSON.parse(stdout) as { file: string; bytes: number; durationMs: number }
  expect(existsSync(report.file)).toBe(true)
  expect(report.bytes).toBeGreaterThan(0)
  expect(report.durationMs).toBeGreaterThanOrEqual(0)
  expect((await cli('snapshot')).stdout).toMatch(/^Snapshot of Redis at .*: .*\.rdb \(\d/)
})

describe('doctor', () => {
  test('gives each check with its status, and exits with 0 while nothing is wrong', async () => {
    const { code, stdout } = await cli('doctor', '--json')
    expect(code).toBe(0)
    const { checks } = JSON.parse(stdout) as { checks: { name: string; status: string; detail: string }[] }
    expect(checks.length).toBeGreaterThan(5)
    expect(checks.every(({ status }) => status === 'ok' || status === 'warn')).toBe(true)
    expect(checks).toContainEqual(expect.objectContaining({ name: 'persistence', status: 'ok' }))
  })

  test('exits with 1 where Redis may delete waiting tasks, and says what to do', async () => {
    await using evicting = await startRedis({ config: { 'maxmemory-policy': 'allkeys-lru', maxmemory: '50mb' } })
    const { code, stdout } = await runCli(['doctor', '--redis', evicting.url])
    expect(code).toBe(1)
    expect(stdout).toMatch(/✗ maxmemory-policy .*\n +→ Set it to noeviction/)
  })

  test('is coloured where colours are forced, and plain in a pipe', async () => {
    const escape = '\u001B['
    expect((await cli('doctor')).stdout).not.toContain(escape)
    expect((await runCli(['doctor', '--redis', redis.url], { env: { FORCE_COLOR: '1' } })).stdout).toContain(escape)
    expect((await runCli(['doctor', '--redis', redis.url], { env: { NO_COLOR: '1' } })).stdout).not.toContain(escape)
  })
})
