import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { TasksLostError } from '../../src/index.ts'
import { parseHeader } from '../../src/protocol/chunk.ts'
import { claimKey, codeKeys, partKeys } from '../../src/protocol/keys.ts'
import { openClient } from '../../src/store/client.ts'
import { LaneStore } from '../../src/store/lane-store.ts'
import { redisTarget } from '../../src/store/target.ts'
import { caught } from '../support/caught.ts'
import { spawnNode } from '../support/process.ts'
import { until } from '../support/until.ts'
import { startBench } from './support/bench.ts'
import type { Bench } from './support/bench.ts'
import { large, same, square, wait } from './support/tasks.ts'

/** A Redis that lost, or was robbed of, single keys; what it has lost as a whole is in recovery.test.ts. */
let bench: Bench
let store: LaneStore

beforeAll(async () => {
  bench = await startBench({ redis: { appendonly: 'always' } })
  const client = openClient(redisTarget(bench.redis.url), { name: 'test', silenceMs: 5000 })
  client.on('error', () => undefined)
  store = new LaneStore(client, { namespace: 'millrace', queue: 'default', lane: 0 })
})
afterAll(async () => {
  store.client.disconnect()
  await bench[Symbol.asyncDispose]()
})

const newId = () => `job-${randomBytes(4).toString('hex')}`
const numbers = (count: number) => Array.from({ length: count }, (_, i) => i)
const driverFile = fileURLToPath(new URL('./support/driver.ts', import.meta.url))

/** A detached job of 300 tasks whose driver was killed when it had submitted them. */
async function abandonedJob(): Promise<string> {
  const id = newId()
  const driver = spawnNode(['--import', 'tsx', driverFile, bench.redis.url, 'detached', id])
  await driver.waitForLine(/submitted/)
  driver.kill()
  await driver.exited
  return id
}

const settled = (id: string) => async () => ((await store.parts.readCounters(id))?.settled ?? 0) >= 300

describe('with its driver gone', () => {
  test('a job whose results were lost says which, and rejects instead of waiting', async () => {
    const id = await abandonedJob()
    await until(settled(id), { what: 'all are settled' })
    const { results } = partKeys(store.lane, id)
    const fields = (await store.client.hkeys(results)).map(Number).sort((a, b) => a - b)
    const [first = 0, second = 0] = fields.slice(3)
    await store.client.hdel(results, String(first))
    const job = await bench.mill.attach(id, wait)
    const error = await caught(job.results())
    expect(error).toBeInstanceOf(TasksLostError)
    expect((error as TasksLostError).lost).toEqual([[first, second]])
    expect((error as TasksLostError).message).toMatch(/^Redis has lost .* of the job .*index.* Run them again/)
    // What is there stays there.
    expect(await store.client.hlen(results)).toBe(fields.length - 1)
    await (await bench.mill.attach(id)).cancel()
  })

  test('a job of whose large results one was lost says which', async () => {
    const id = newId()
    const other = await bench.connect()
    const inputs = numbers(3).map(fill => ({ bytes: 200_000, fill }))
    await other.map(large, inputs, { id, detached: true }).submitted()
    await other.close()
    await until(async () => (await store.parts.readCounters(id))?.settled === 3, { what: 'all are settled' })
    const { runs } = await store.parts.scanResults(id, '0')
    const { held = '', first, count } = runs.find(run => run.held !== undefined)!
    expect(await store.client.hdel(partKeys(store.lane, id).payloads, held)).toBe(1)
    const error = await caught((await bench.mill.attach(id, large)).results())
    expect(error).toBeInstanceOf(TasksLostError)
    expect((error as TasksLostError).lost).toEqual([[first, first + count]])
    await (await bench.mill.attach(id)).cancel()
  })

  test('a job whose waiting chunks were lost says which', async () => {
    const id = newId()
    const other = await bench.connect()
    await other
      .map(
        wait,
        numbers(40).map(value => ({ ms: 400, value })),
        { id, detached: true },
      )
      .submitted()
    await other.close()
    const { chunks } = partKeys(store.lane, id)
    const lines = (await store.client.lrange(chunks, 0, -1)).map(element => parseHeader(element.split('\n')[0] ?? ''))
    await store.client.del(chunks)
    expect(lines.length).toBeGreaterThan(3)
    const error = await caught((await bench.mill.attach(id, wait)).results())
    expect(error).toBeInstanceOf(TasksLostError)
    const lost = (error as TasksLostError).lost
    const indexes = lost.flatMap(([from, to]) => numbers(to - from).map(i => from + i))
    const deleted = lines.flatMap(line => numbers(line?.count ?? 0).map(i => (line?.first ?? 0) + i))
    expect(indexes).toEqual(deleted.sort((a, b) => a - b))
    await (await bench.mill.attach(id)).cancel()
  })

  test('a job of which Redis lost everything is not there, and says so', async () => {
    const id = await abandonedJob()
    await bench.redis.cli('FLUSHALL')
    expect(await caught(bench.mill.attach(id))).toMatchObject({ code: 'JOB_NOT_FOUND' })
  })
})

describe('with its driver alive', () => {
  test.each(['chunks', 'results', 'stage', 'claims', 'part'] as const)(
    'a job loses nothing when its %s are deleted',
    async what => {
      const inputs = numbers(60).map(value => ({ ms: 60, value }))
      const job = bench.mill.map(wait, inputs)
      const results = job.results()
      await until(async () => (await job.progress()).done > 4, { what: 'some are done' })
      const keys = partKeys(store.lane, job.id)
      const hash = (await store.upkeep.hashOf(job.id)) ?? ''
      const claims = await store.client.keys(claimKey(store.lane, '*'))
      const doomed = { ...keys, stage: codeKeys(store.lane, hash).stage, claims: '' }
      await store.client.del(...(what === 'claims' ? claims : [doomed[what]]))
      expect(await results).toEqual(numbers(60))
    },
  )

  test('a job loses nothing when its large payloads are deleted, or something else stands there', async () => {
    const ballast = randomBytes(100_000)
    for (const garbage of [false, true]) {
      const job = bench.mill.map(
        wait,
        numbers(20).map(value => ({ ms: 60, value, ballast })),
      )
      const results = job.results()
      await until(async () => (await job.progress()).done > 2, { what: 'some are done' })
      const { payloads } = partKeys(store.lane, job.id)
      if (garbage) await store.client.set(payloads, 'garbage')
      else expect(await store.client.del(payloads)).toBe(1)
      expect(await results).toEqual(numbers(20))
    }
  })

  test('a job whose keys are of another type is begun anew', async () => {
    for (const key of ['chunks', 'results', 'delayed', 'part'] as const) {
      const job = bench.mill.map(
        wait,
        numbers(30).map(value => ({ ms: 50, value })),
      )
      const results = job.results()
      await until(async () => (await job.progress()).done > 2, { what: 'some are done' })
      await store.client.set(partKeys(store.lane, job.id)[key], 'garbage')
      expect(await results, key).toEqual(numbers(30))
    }
  })

  test('results of tasks that do not exist are no results', async () => {
    const job = bench.mill.map(same, numbers(40), { detached: true })
    await job.submitted()
    await store.client.hset(partKeys(store.lane, job.id).results, '1000000', '7 values\nxx')
    expect(await job.results()).toEqual(numbers(40))
  })

  test('the queue, the jobs and the leases of drivers come back when they are lost', async () => {
    const job = bench.mill.map(
      wait,
      numbers(60).map(value => ({ ms: 80, value })),
    )
    const results = job.results()
    await until(async () => (await job.progress()).done > 4, { what: 'some are done' })
    const hash = (await store.upkeep.hashOf(job.id)) ?? ''
    await store.client.del(codeKeys(store.lane, hash).ready, store.keys.jobs, store.keys.driven)
    expect(await results).toEqual(numbers(60))
    expect(await bench.mill.run(square, 3)).toBe(9)
  })
})
