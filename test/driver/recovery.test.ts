import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import {
  CollectorReplacedError,
  InputsIncompleteError,
  JobCancelledError,
  JobConflictError,
  JobNotFoundError,
  range,
  UsageError,
} from '../../src/index.ts'
import { openClient } from '../../src/store/client.ts'
import { LaneStore } from '../../src/store/lane-store.ts'
import { redisTarget } from '../../src/store/target.ts'
import { Proxy } from '../../chaos/proxy.ts'
import { caught } from '../support/caught.ts'
import { spawnNode } from '../support/process.ts'
import type { NodeProcess } from '../support/process.ts'
import { until } from '../support/until.ts'
import { startBench } from './support/bench.ts'
import type { Bench } from './support/bench.ts'
import { add, refuse, same, square, wait } from './support/tasks.ts'

let bench: Bench
const drivers: NodeProcess[] = []

afterEach(() => {
  for (const driver of drivers.splice(0)) driver.kill()
})

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i)
const waits = (count: number, ms: number) => numbers(count).map(value => ({ ms, value }))
const driverFile = fileURLToPath(new URL('./support/driver.ts', import.meta.url))
function startDriver(mode: string, id: string): NodeProcess {
  const driver = spawnNode(['--import', 'tsx', driverFile, bench.redis.url, mode, id])
  drivers.push(driver)
  return driver
}
/** All that an iteration gives, calling back after each. */
async function all<T>(
  results: AsyncIterable<T>,
  after: (count: number) => Promise<void> | void = () => undefined,
): Promise<T[]> {
  const seen: T[] = []
  for await (const result of results) {
    seen.push(result)
    await after(seen.length)
  }
  return seen
}

describe('when Redis comes back with less', () => {
  beforeAll(async () => {
    bench = await startBench()
  })
  afterAll(() => bench[Symbol.asyncDispose]())

  test.each(['iteration', 'results', 'reduce'] as const)(
    'FLUSHALL in the middle of a job loses nothing: %s',
    async how => {
      const job = bench.mill.map(wait, waits(400, 5))
      const outcome =
        how === 'iteration'
          ? all(job)
          : how === 'results'
            ? job.results()
            : job.reduce((list: number[], value) => [...list, value], [])
      for (const enough of [30, 150]) {
        await until(
          async () => (await job.progress()).done >= enough || (await job.progress()).waitingFor === undefined,
          { what: 'some are done' },
        )
        await bench.redis.cli('FLUSHALL')
      }
      expect(await outcome).toEqual(numbers(400))
    },
  )

  test('FLUSHALL during a range, and a reduction on the workers', async () => {
    const sum = bench.mill.map(same, range(2_000_000)).reduce(add, 1)
    const seen = all(bench.mill.map(square, range(500_000)))
    await until(async () => (await bench.redis.cli('KEYS', '*:results')).length > 0, { what: 'there are results' })
    await bench.redis.cli('FLUSHALL')
    expect(await seen).toEqual(numbers(500_000).map(x => x * x))
    expect(await sum).toBe(numbers(2_000_000).reduce((total, x) => total + x, 1))
  })

  test('a kill of a Redis that keeps nothing loses nothing', async () => {
    const results = bench.mill.map(wait, waits(300, 5)).results()
    const call = bench.mill.run(wait, { ms: 700, value: 7 })
    await until(async () => (await bench.redis.cli('KEYS', '*:results')).length > 0, { what: 'there are results' })
    await bench.redis.kill()
    await bench.redis.restart()
    expect(await results).toEqual(numbers(300))
    expect(await call).toBe(7)
  })

  test('results that were only announced, and then lost, are computed again', async () => {
    const job = bench.mill.map(square, range(1000), { detached: true })
    await job.submitted()
    await until(async () => (await job.progress()).done === 1000, { what: 'all are done' })
    await bench.redis.cli('FLUSHALL')
    expect(await job.results()).toEqual(numbers(1000).map(x => x * x))
  })

  test('a full Redis is waited for, and the job says so', async () => {
    await bench.redis.cli('CONFIG', 'SET', 'maxmemory', '1mb')
    const job = bench.mill.map(square, numbers(2000))
    const results = job.results()
    await until(async () => (await job.progress()).waitingFor?.includes('accept writes'), { what: 'it says so' })
    await bench.redis.cli('CONFIG', 'SET', 'maxmemory', '0')
    expect(await results).toEqual(numbers(2000).map(x => x * x))
  })
})

describe('when connections break', () => {
  beforeAll(async () => {
    bench = await startBench({ redis: { appendonly: 'always' } })
  })
  afterAll(() => bench[Symbol.asyncDispose]())

  test('a restart of a Redis that keeps everything costs nothing', async () => {
    const results = bench.mill.map(wait, waits(300, 5)).results()
    await until(async () => (await bench.redis.cli('KEYS', '*:results')).length > 0, { what: 'there are results' })
    await bench.redis.kill()
    await bench.redis.restart()
    expect(await results).toEqual(numbers(300))
  })

  test('missed messages are made up for', async () => {
    let kills = 0
    const killing = setInterval(() => {
      void bench.redis.cli('CLIENT', 'KILL', 'TYPE', kills++ % 3 === 2 ? 'normal' : 'pubsub').catch(() => undefined)
    }, 60)
    try {
      expect(await all(bench.mill.map(wait, waits(500, 2)))).toEqual(numbers(500))
      expect(
        (await bench.mill.map(refuse, numbers(300)).settled()).filter(({ status }) => status === 'rejected').length,
      ).toBe(60)
    } finally {
      clearInterval(killing)
    }
    expect(kills).toBeGreaterThan(3)
  })

  test.each(['attach', 'the same id', 'a new job'] as const)(
    '%s waits when its first question has no answer',
    async how => {
      const jobs = await bench.connect()
      const id = `asked-${randomBytes(4).toString('hex')}`
      await jobs.map(wait, waits(20, 1), { id, detached: true }).submitted()
      const proxy = new Proxy(bench.redis.socketPath)
      await using mill = await bench.connect({ redis: await proxy.listen() })
      proxy.setMode({ kind: 'swallow replies' })
      const results = {
        attach: async () => (await mill.attach(id, wait)).results(),
        'the same id': () => mill.map(wait, waits(20, 1), { id }).results(),
        'a new job': () => mill.map(wait, waits(20, 1)).results(),
      }[how]()
      const before = proxy.counts.swallowedBytes
      await until(() => proxy.counts.swallowedBytes > before, { what: 'an answer is lost' })
      proxy.setMode({ kind: 'pass' })
      proxy.cut()
      expect(await results).toEqual(numbers(20))
      await mill.close()
      await proxy.close()
    },
  )

  test('a job that has ended is taken out of Redis, if not at once', async () => {
    const proxy = new Proxy(bench.redis.socketPath)
    await using mill = await bench.connect({ redis: await proxy.listen() })
    const job = mill.map(same, numbers(5))
    const iterator = job[Symbol.asyncIterator]()
    for (const value of numbers(5)) expect(await iterator.next()).toEqual({ done: false, value })
    const before = proxy.counts.swallowedBytes
    proxy.setMode({ kind: 'swallow' })
    expect(await iterator.next()).toEqual({ done: true, value: undefined })
    await until(() => proxy.counts.swallowedBytes > before, { what: 'the drop is lost' })
    proxy.setMode({ kind: 'pass' })
    proxy.cut()
    const part = `{millrace:default:0}:part:${job.id}`
    await until(async () => (await bench.redis.cli('EXISTS', part, `${part}:results`)) === '0', { what: 'it is gone' })
    await mill.close()
    await proxy.close()
  })

  test('a cancellation whose answer is lost is made again, and what runs is stopped', async () => {
    const proxy = new Proxy(bench.redis.socketPath)
    await using mill = await bench.connect({ redis: await proxy.listen() })
    const job = mill.map(wait, waits(2, 60_000), { detached: true })
    await job.submitted()
    await until(async () => (await job.progress()).running === 2, { what: 'both run' })
    const before = proxy.counts.swallowedBytes
    proxy.setMode({ kind: 'swallow' })
    const cancelled = job.cancel()
    await until(() => proxy.counts.swallowedBytes > before, { what: 'the drop is lost' })
    proxy.setMode({ kind: 'pass' })
    proxy.cut()
    await cancelled
    expect(await bench.mill.run(same, 7)).toBe(7)
    expect(await bench.redis.cli('EXISTS', `{millrace:default:0}:part:${job.id}`)).toBe('0')
    await mill.close()
    await proxy.close()
  })

  test('a driver that was replaced while it was cut off does not stop what runs for its successor', async () => {
    const proxy = new Proxy(bench.redis.socketPath)
    await using mill = await bench.connect({ redis: await proxy.listen() })
    const job = mill.map(wait, waits(4, 1500))
    await until(async () => (await job.progress()).running > 0, { what: 'some run' })
    proxy.setMode({ kind: 'swallow' })
    proxy.cut()
    const results = (await bench.mill.attach(job.id, wait)).results()
    const cancelled = job.cancel()
    proxy.setMode({ kind: 'pass' })
    proxy.cutSilent()
    await cancelled
    expect(await results).toEqual(numbers(4))
    await mill.close()
    await proxy.close()
  })

  test('a job whose driver was taken for dead goes on when it is back', async () => {
    const job = bench.mill.map(wait, waits(200, 20))
    const results = job.results()
    await until(async () => (await job.progress()).done > 5, { what: 'some are done' })
    const lane = { namespace: 'millrace', queue: 'default', lane: 0 }
    const client = openClient(redisTarget(bench.redis.url), { name: 'test', silenceMs: 5000 })
    const store = new LaneStore(client, lane)
    const record = await store.parts.readPart(job.id)
    const park = async () => {
      await client.zadd(store.keys.driven, 1, job.id)
      return (await store.upkeep.park(job.id, record?.hash ?? '')) === 'parked'
    }
    // The driver may say that it lives between the two.
    await until(park, { what: 'the job is parked' })
    client.disconnect()
    expect(await results).toEqual(numbers(200))
  })
})

describe('attach', () => {
  beforeAll(async () => {
    bench = await startBench()
  })
  afterAll(() => bench[Symbol.asyncDispose]())
  const newId = () => `job-${randomBytes(4).toString('hex')}`

  test('takes a job over, and the former collector is told', async () => {
    const other = await bench.connect()
    const job = bench.mill.map(wait, waits(60, 40))
    const former = caught(job.results())
    await until(async () => (await job.progress()).submitted === 60, { what: 'all is submitted' })
    const again = await other.attach(job.id, wait)
    expect(await again.results()).toEqual(numbers(60))
    expect(await former).toBeInstanceOf(CollectorReplacedError)
    expect(await caught(other.attach(job.id))).toBeInstanceOf(JobNotFoundError)
  })

  test('loses nothing when the same connection has the job already, and its consumer is under way', async () => {
    const proxy = new Proxy(bench.redis.socketPath)
    await using mill = await bench.connect({ redis: await proxy.listen() })
    const job = mill.map(wait, waits(1000, 1))
    await until(async () => (await job.progress()).done === 1000, { what: 'all is done' })
    let seen = 0
    // It releases what it has used all the time, also between the question and its answer.
    const former = caught(
      all(job, async count => {
        seen = count
        await sleep(10)
      }),
    )
    await until(() => seen > 10, { what: 'the consumer is under way' })
    proxy.setMode({ kind: 'delay', ms: 200 })
    const again = await mill.attach(job.id, wait)
    proxy.setMode({ kind: 'pass' })
    expect(await former).toBeInstanceOf(CollectorReplacedError)
    const rest = await again.results()
    expect(rest).toEqual(numbers(1000).slice(1000 - rest.length))
    expect(rest.length).toBeGreaterThanOrEqual(1000 - seen)
    await mill.close()
    await proxy.close()
  })

  test('goes on when Redis went back to before it attached', async () => {
    const job = bench.mill.map(wait, waits(100, 20), { id: newId() })
    const former = caught(job.results())
    await until(async () => (await job.progress()).submitted === 100, { what: 'all is submitted' })
    const part = `{millrace:default:0}:part:${job.id}`
    const collector = await bench.redis.cli('HGET', part, 'collector')
    const other = await bench.connect()
    const results = (await other.attach(job.id, wait)).results()
    expect(await former).toBeInstanceOf(CollectorReplacedError)
    await bench.redis.cli('HSET', part, 'collector', collector)
    await bench.redis.cli('HDEL', part, 'attached')
    expect(await results).toEqual(numbers(100))
    expect(await bench.redis.cli('HGET', part, 'state')).not.toBe('open')
  })

  test('a driver that missed that it was replaced does not end the job as its own', async () => {
    const { mill } = bench
    const values = mill.map(same, numbers(5), { id: newId() })
    const iterator = values[Symbol.asyncIterator]()
    for (const value of numbers(5)) expect(await iterator.next()).toEqual({ done: false, value })
    // All results are here already, and the message that somebody attached is not.
    const part = `{millrace:default:0}:part:${values.id}`
    await bench.redis.cli('HSET', part, 'collector', 'another', 'attached', '1')
    expect(await caught(Promise.resolve(iterator.next()))).toBeInstanceOf(CollectorReplacedError)
    expect(await bench.redis.cli('HGET', part, 'state')).toBe('open')
    await bench.redis.cli('DEL', part, `${part}:results`)
  })

  test('refuses a job that is not there, and one of another task', async () => {
    expect(await caught(bench.mill.attach('never-was'))).toBeInstanceOf(JobNotFoundError)
    const job = bench.mill.map(wait, waits(3, 5), { detached: true })
    await job.submitted()
    expect(await caught(bench.mill.attach(job.id, square))).toBeInstanceOf(JobConflictError)
    expect(await (await bench.mill.attach(job.id)).results()).toEqual([0, 1, 2])
  })

  test('a detached job is finished after its driver is gone', async () => {
    const id = newId()
    const driver = startDriver('detached', id)
    await driver.waitForLine(/submitted/)
    driver.kill()
    const job = await bench.mill.attach(id, wait)
    expect(await job.results()).toEqual(numbers(300))
  })

  test('a killed driver of a range job is replaced by one that submits the rest', async () => {
    const id = newId()
    const driver = startDriver('range', id)
    await driver.waitForLine(/seen 100000/)
    driver.kill()
    await driver.exited
    const squares = await all(await bench.mill.attach(id, square))
    // What the dead one had used and not released comes again; nothing is missing behind it.
    expect(squares.length).toBeGreaterThan(100_000)
    expect(squares.length).toBeLessThanOrEqual(300_000 + 65_535)
    const first = 400_000 - squares.length
    expect(squares.every((y, i) => y === (first + i) ** 2)).toBe(true)
  })

  test('other windowed jobs give what was submitted, and then say that it was not all', async () => {
    const id = newId()
    const driver = startDriver('windowed', id)
    await driver.waitForLine(/got 59/)
    driver.kill()
    await driver.exited
    const job = await bench.mill.attach(id, wait)
    const { submitted } = await job.progress()
    const submission = caught(job.submitted())
    const seen: number[] = []
    const error = await caught(all(job, () => undefined).catch((reason: unknown) => Promise.reject(reason as Error)))
    expect(error).toBeInstanceOf(InputsIncompleteError)
    expect(error).toMatchObject({ submitted })
    expect(await submission).toBe(error)
    expect(submitted).toBeGreaterThanOrEqual(60)
    expect(seen).toEqual([])
  })

  test('the same id with the same inputs goes on where the dead driver stopped', async () => {
    const id = newId()
    const driver = startDriver('windowed', id)
    await driver.waitForLine(/got 59/)
    driver.kill()
    await driver.exited
    const values = await all(bench.mill.map(wait, waits(400, 1), { id }))
    const first = values[0] ?? NaN
    expect(first).toBeLessThanOrEqual(60)
    expect(values).toEqual(numbers(400).slice(first))
  })

  test('of several drivers that ask for one id in the same moment, the last has it, and no other fails but by that', async () => {
    for (let round = 0; round < 10; round++) {
      const id = newId()
      const mills = await Promise.all(Array.from({ length: 4 }, () => bench.connect()))
      const ends = await Promise.allSettled(mills.map(mill => mill.map(wait, waits(40, 1), { id }).results()))
      await Promise.all(mills.map(mill => mill.close()))
      const refused = ends.filter(end => end.status === 'rejected').map(({ reason }) => reason as Error)
      for (const error of refused) expect(error).toBeInstanceOf(CollectorReplacedError)
      expect(refused.length).toBeLessThan(4)
      for (const end of ends) if (end.status === 'fulfilled') expect(end.value).toEqual(numbers(40))
    }
  })

  test('a job that is cancelled while it begins leaves nothing behind', async () => {
    const id = newId()
    for (let round = 0; round < 20; round++) {
      const job = bench.mill.map(wait, waits(40, 1), { id })
      const results = caught(job.results())
      // Each time at another moment of its beginning.
      await new Promise(resolve => setTimeout(resolve, round / 4))
      await job.cancel()
      expect(await results).toBeInstanceOf(JobCancelledError)
    }
    await until(async () => (await bench.redis.cli('ZSCORE', '{millrace:default:0}:jobs', id)) === '', {
      what: 'the job is gone',
    })
  })

  test('an id is free again once its results are there', async () => {
    const id = newId()
    expect(await bench.mill.map(square, [1, 2], { id }).results()).toEqual([1, 4])
    expect(await bench.mill.map(square, [3, 4], { id }).results()).toEqual([9, 16])
    expect(await bench.mill.run(same, 5, { id })).toBe(5)
    expect(await all(bench.mill.map(square, [5, 6], { id }))).toEqual([25, 36])
    await bench.mill.map(wait, waits(3, 60_000), { id }).cancel()
    expect(await bench.mill.map(square, [7], { id }).results()).toEqual([49])
  })

  test('the same id with another task is a conflict', async () => {
    const id = newId()
    await bench.mill.map(wait, waits(3, 1), { id, detached: true }).submitted()
    expect(await caught(bench.mill.map(square, [1], { id }).results())).toBeInstanceOf(JobConflictError)
    await (await bench.mill.attach(id)).cancel()
  })

  test('a consumer that a reduction refuses leaves it to reduce()', async () => {
    const job = bench.mill.map(wait, waits(200, 30), { id: 'left-to-reduce' })
    const former = job.reduce(add, 5).catch(() => undefined)
    await job.submitted()
    const other = await (await bench.connect()).attach('left-to-reduce', wait)
    expect(await caught(other.results())).toBeInstanceOf(UsageError)
    expect(await caught(other[Symbol.asyncIterator]().next())).toBeInstanceOf(UsageError)
    expect(await other.reduce(add, 5)).toBe(19_905)
    await former
  })

  test('a reduction goes on from its checkpoint, and each result counts once', async () => {
    const id = newId()
    const driver = startDriver('reduce', id)
    await driver.waitForLine(/collected [1-9]\d{4}/)
    driver.kill()
    await driver.exited
    const job = await bench.mill.attach(id, same)
    expect(await job.reduce(add, 5)).toBe(numbers(1_000_000).reduce((sum, x) => sum + x, 5))
  })

  test('Ctrl-C cancels what nobody could attach to, leaves what has an id, and exits with 130', async () => {
    const id = newId()
    const driver = startDriver('interrupt', id)
    await driver.waitForLine(/waiting/)
    driver.kill('SIGINT')
    expect(await driver.exited).toEqual({ code: 130, signal: null })
    expect(await bench.redis.cli('ZRANGE', '{millrace:default:0}:jobs', '0', '-1')).toContain(id)
    expect(await bench.redis.cli('ZCARD', '{millrace:default:0}:driven')).toBe('1')
    await (await bench.mill.attach(id)).cancel()
  })

  test('a cancellation from elsewhere reaches the driver', async () => {
    const job = bench.mill.map(wait, waits(4, 60_000))
    const results = caught(job.results())
    await until(async () => (await job.progress()).running > 0, { what: 'some run' })
    const client = openClient(redisTarget(bench.redis.url), { name: 'test', silenceMs: 5000 })
    const store = new LaneStore(client, { namespace: 'millrace', queue: 'default', lane: 0 })
    const record = await store.parts.readPart(job.id)
    await store.parts.drop({ job: job.id, incarnation: '', collector: '', hash: record?.hash ?? '' })
    client.disconnect()
    expect(await results).toBeInstanceOf(JobCancelledError)
  })
})
