import { afterAll, beforeAll, expect, test } from 'vitest'
import { ConnectionClosedError, TaskCancelledError, TaskError, UnencodableValueError } from '../../src/index.ts'
import { caught } from '../support/caught.ts'
import { until } from '../support/until.ts'
import { startBench } from './support/bench.ts'
import type { Bench } from './support/bench.ts'
import { echo, refuse, square, wait } from './support/tasks.ts'

let bench: Bench

beforeAll(async () => {
  bench = await startBench({ redis: { appendonly: 'always' } })
})
afterAll(() => bench[Symbol.asyncDispose]())

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i)

test('calls that come one after the other share a job, which is gone when no more come', async () => {
  const jobs = new Set<string>()
  for (const x of numbers(30)) {
    expect(await bench.mill.run(square, x)).toBe(x * x)
    for (const record of await bench.records()) jobs.add(record)
  }
  // One, unless the machine stood still for a second in between.
  expect(jobs.size).toBeLessThan(10)
  await until(async () => (await bench.records()).length === 0, { what: 'the job is gone' })
  expect(await bench.mill.run(square, 5)).toBe(25)
})

test('more calls than one job takes go to the next, and both jobs end', async () => {
  const results = await Promise.all(numbers(70_000).map(x => bench.mill.run(square, x)))
  expect(results.every((y, x) => y === x * x)).toBe(true)
  await until(async () => (await bench.records()).length === 0, { what: 'no job is left' })
})

test('an input that cannot travel, a failure and an abort are those of their own call', async () => {
  const controller = new AbortController()
  const long = caught(bench.mill.run(wait, { ms: 60_000, value: 1 }, { signal: controller.signal }))
  const short = bench.mill.run(wait, { ms: 100, value: 2 })
  const calls = numbers(40).map(x => bench.mill.run(echo, x % 7 === 3 ? () => x : x))
  const outcomes = await Promise.allSettled(calls)
  for (const [x, outcome] of outcomes.entries()) {
    if (x % 7 === 3) expect(outcome).toMatchObject({ status: 'rejected', reason: { path: '$[0]' } })
    else expect(outcome).toEqual({ status: 'fulfilled', value: x })
  }
  expect(await caught(bench.mill.run(echo, () => 1))).toBeInstanceOf(UnencodableValueError)
  expect(await caught(bench.mill.run(refuse, 3))).toBeInstanceOf(TaskError)
  expect(await short).toBe(2)
  controller.abort()
  expect(await long).toBeInstanceOf(TaskCancelledError)
  // It has stopped: both threads are free.
  expect(await Promise.all([1, 2].map(value => bench.mill.run(wait, { ms: 50, value })))).toEqual([1, 2])
})

test('a call that is aborted before any worker knows its task leaves nothing behind', async () => {
  await using other = await startBench({ threads: 0 })
  const controller = new AbortController()
  const call = caught(other.mill.run(square, 1, { signal: controller.signal }))
  controller.abort()
  expect(await call).toBeInstanceOf(TaskCancelledError)
  const pending = caught(other.mill.run(square, 2))
  await other.mill.close()
  expect(await pending).toBeInstanceOf(ConnectionClosedError)
})

test('calls made while Redis loses everything, or its scripts, or is killed, each get their result', async () => {
  const results: number[] = []
  let next = 0
  const caller = async () => {
    while (next < 600) {
      const x = next++
      results[x] = await bench.mill.run(square, x)
    }
  }
  const callers = Promise.all(numbers(4).map(caller))
  await until(() => next > 100, { what: 'they are under way' })
  await bench.redis.cli('FLUSHALL')
  await until(() => next > 250, { what: 'they go on' })
  await bench.redis.cli('SCRIPT', 'FLUSH')
  await until(() => next > 400, { what: 'they go on' })
  await bench.redis.kill()
  await bench.redis.restart()
  await callers
  expect(results).toEqual(numbers(600).map(x => x * x))
})
