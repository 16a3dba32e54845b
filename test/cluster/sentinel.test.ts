import { afterAll, beforeAll, expect, test } from 'vitest'
import { range } from '../../src/index.ts'
import type { Mill } from '../../src/index.ts'
import { runCli, compiled } from '../cli/support/cli.ts'
import { add, same, set, square, wait } from '../driver/support/tasks.ts'
import { startSentinel } from '../support/redis-sentinel.ts'
import type { SentinelSetup } from '../support/redis-sentinel.ts'
import type { RedisProcess } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { Endless, Fleet } from './support/bench.ts'

let sentinel: SentinelSetup
let fleet: Fleet
let mill: Mill

beforeAll(compiled, 120_000)
beforeAll(async () => {
  sentinel = await startSentinel({ replicas: 2 })
  fleet = new Fleet(sentinel.url)
  const [, connected] = await Promise.all([fleet.startWorker(2), fleet.connect()])
  mill = connected
})
afterAll(async () => {
  await fleet[Symbol.asyncDispose]()
  await sentinel.stop()
})

test('everything works on the master that Sentinel names', async () => {
  expect(await mill.run(square, 12)).toBe(144)
  expect(await mill.map(same, range(100_000)).reduce(add, 0)).toBe(4_999_950_000)
  expect(await mill.broadcast(set, 'one')).toHaveLength(2)
  expect(await mill.workers()).toHaveLength(1)
  expect((await mill.durability()).replicas).toBe(2)
  const { bytes, servers } = await mill.snapshot()
  expect(bytes).toBeGreaterThan(0)
  expect(servers).toMatchObject([{ server: (await sentinel.master()).url.replace('redis://', '') }])
  const { code, stdout } = await runCli(['doctor', '--redis', sentinel.url])
  expect(stdout).toMatch(/Redis master "millrace-test" of Sentinel/)
  expect(code).toBe(0)
})

test('by ioredis options, with a local worker', async () => {
  const { sentinels } = sentinel
  const redis = { sentinels: sentinels.map(({ port = 0 }) => ({ host: '127.0.0.1', port })), name: 'millrace-test' }
  const other = await fleet.connect({ redis, threads: 1, queue: 'other' })
  expect(await other.run(square, 9)).toBe(81)
  await other.close()
})

test.each([
  ['is killed', (master: RedisProcess) => master.kill()],
  ['hands over', () => sentinel.handOver()],
])('a job goes on when the master %s and a replica takes over', async (_how, change) => {
  const before = await sentinel.master()
  const endless = new Endless()
  const job = mill.map(wait, endless.inputs())
  const results = job.results()
  const advanced = async () => {
    const { done } = await job.progress()
    await until(async () => (await job.progress()).done > done + 20, { what: 'the job goes on' })
  }
  await advanced()
  const sum = mill.map(same, range(300_000)).reduce(add, 0)
  await change(before)
  await until(async () => (await sentinel.master()) !== before, { what: 'a replica has taken over' })
  await advanced()
  endless.enough()
  expect(await results).toEqual(endless.expected)
  expect(await sum).toBe(44_999_850_000)
})
