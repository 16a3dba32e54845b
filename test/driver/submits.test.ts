import { afterAll, beforeAll, expect, test } from 'vitest'
import { task, TaskCancelledError, TaskError, UnencodableValueError, UnknownTaskError } from '../../src/index.ts'
import { caught } from '../support/caught.ts'
import { until } from '../support/until.ts'
import { startBench } from './support/bench.ts'
import type { Bench } from './support/bench.ts'
import { echo, large, refuse, square, wait } from './support/tasks.ts'

let bench: Bench

beforeAll(async () => {
  bench = await startBench()
})
afterAll(() => bench[Symbol.asyncDispose]())

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i)

test('a call that supersedes one of its turn gets its result', async () => {
  const { mill } = bench
  expect(await mill.run(square, 1)).toBe(1)
  const first = mill.submit(square, 2)
  const cancelled = first.cancel()
  const second = mill.submit(square, 3)
  expect(await second.result()).toBe(9)
  expect(await caught(first.result())).toBeInstanceOf(TaskCancelledError)
  await cancelled
})

test('so does one that comes later in the turn', async () => {
  const first = bench.mill.submit(square, 2)
  await first.cancel()
  for (let i = 0; i < 20; i++) await Promise.resolve()
  expect(await bench.mill.submit(square, 3).result()).toBe(9)
  expect(await caught(first.result())).toBeInstanceOf(TaskCancelledError)
})

test('a call that is made anew as soon as it is refused is refused again', async () => {
  const unknown = task('nowhere to be found', (x: number) => x)
  await bench.mill.workers()
  const again = bench.mill
    .submit(unknown, 1)
    .result()
    .catch(() => bench.mill.submit(unknown, 1).result())
  expect(await caught(again)).toBeInstanceOf(UnknownTaskError)
})

test('an input that cannot travel, a failure and a cancellation are those of their own call, by whatever index', async () => {
  const handles = numbers(40).map(x => bench.mill.submit(echo, x % 7 === 3 ? () => x : x))
  await handles[20]!.cancel()
  const outcomes = await Promise.allSettled(handles.map(handle => handle.result()))
  for (const [x, outcome] of outcomes.entries()) {
    if (x === 20) expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'TASK_CANCELLED', index: 20 } })
    else if (x % 7 === 3) expect(outcome).toMatchObject({ status: 'rejected', reason: { path: '$[0]' } })
    else expect(outcome).toEqual({ status: 'fulfilled', value: x })
  }
  expect(await caught(bench.mill.submit(echo, () => 1).result())).toBeInstanceOf(UnencodableValueError)

  const [bad, failing] = [bench.mill.submit(refuse, (() => 1) as never), bench.mill.submit(refuse, 3)]
  expect(await caught(bad.result())).toBeInstanceOf(UnencodableValueError)
  const failure = await caught(failing.result())
  expect(failure).toBeInstanceOf(TaskError)
  expect(failing.id).toBe(`${(failure as TaskError).jobId}/${(failure as TaskError).index}`)
  await until(async () => (await bench.records()).length === 0, { what: 'no job is left' })
})

test('the calls beside one whose input cannot travel go on after Redis has lost everything', async () => {
  const { mill } = bench
  const handles = numbers(40).map(value =>
    mill.submit(wait, { ms: 50, value: (value % 5 === 3 ? () => value : value) as number }),
  )
  expect(await handles[0]!.result()).toBe(0)
  await bench.redis.cli('FLUSHALL')
  const outcomes = await Promise.allSettled(handles.map(handle => handle.result()))
  for (const [x, outcome] of outcomes.entries()) {
    if (x % 5 === 3) expect(outcome).toMatchObject({ status: 'rejected', reason: { path: '$[0].value' } })
    else expect(outcome).toEqual({ status: 'fulfilled', value: x })
  }
})

test('calls that never had a task leave the room of their job to others', async () => {
  // With results of a megabyte 64 calls have room.
  const call = (input: { bytes: number; fill: number }) => bench.mill.run(large, input)
  const sound = { bytes: 1024 * 1024, fill: 1 }
  expect(await call(sound)).toHaveLength(sound.bytes)
  const refused = await Promise.allSettled(
    numbers(70).map(() => call({ bytes: (() => 1) as unknown as number, fill: 1 })),
  )
  expect(new Set(refused.map(({ status }) => status))).toEqual(new Set(['rejected']))
  for (let i = 0; i < 3; i++) expect(await call(sound)).toHaveLength(sound.bytes)
})

test('whoever attaches does not take calls that never had a task for lost', async () => {
  const handles = numbers(40).map(value =>
    bench.mill.submit(wait, { ms: 300, value: (value % 5 === 3 ? () => value : value) as number }),
  )
  const outcomes = Promise.allSettled(handles.map(handle => handle.result()))
  const id = handles[0]!.id.split('/')[0]!
  await until(async () => (await bench.records()).some(key => key.endsWith(`:${id}`)), { what: 'the job is there' })
  const job = await (await bench.connect()).attach(id, wait)
  expect(await job.results()).toEqual(numbers(40).filter(value => value % 5 !== 3))
  expect((await outcomes).map(({ status }) => status)).not.toContain('fulfilled')
})
