import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { connect, reducer, TasksLostError } from '../../src/index.ts'
import type { Job } from '../../src/index.ts'
import { claimKey, partKeys } from '../../src/protocol/keys.ts'
import { encodeBatch, encodeValue } from '../../src/protocol/values.ts'
import { useRedis } from '../store/support/lane.ts'
import type { TestJob, TestLane } from '../store/support/lane.ts'
import { until } from '../support/until.ts'
import { add } from './support/tasks.ts'

const redis = useRedis()
const tasks = 12
const sumOf = (from: number, to: number) => ((from + to - 1) * (to - from)) / 2

/** A job whose driver is gone, all of whose tasks one thread holds. */
async function heldJob(lane: TestLane, fields: { readonly reducer?: string } = { reducer: 'add' }): Promise<TestJob> {
  const part = await lane.job(tasks, fields)
  await lane.join('w', ['a'])
  for (let taken = 0; taken < tasks; taken++) await lane.take('w', 'a')
  return part
}

/** Commits the sum of consecutive tasks, each its own index. */
function commit(lane: TestLane, part: TestJob, from: number, to: number): Promise<void> {
  return settle(lane, part, [from, to], 'partial', encodeValue(sumOf(from, to)))
}

/** Commits consecutive tasks, each its own index. */
function commitValues(lane: TestLane, part: TestJob, from: number, to: number): Promise<void> {
  return settle(lane, part, [from, to], 'values', encodeBatch(indexes(from, to)))
}

const indexes = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i)

async function settle(
  lane: TestLane,
  part: TestJob,
  [from, to]: readonly [number, number],
  kind: 'partial' | 'values',
  bytes: Buffer,
): Promise<void> {
  const reply = await lane.claims.settle(part, 'a', {
    chunks: indexes(from, to).map(first => ({ first, attempt: 1, done: 1 })),
    runs: [{ first: from, count: to - from, kind, bytes }],
    retries: [],
    paceNs: 0,
  })
  expect(reply.word).toBe('committed')
}

/** What Redis has of the job now; the returned function has it go back to that. */
async function remember(lane: TestLane, { job }: TestJob): Promise<() => Promise<void>> {
  const { part, results } = partKeys(lane.lane, job)
  const keys = [part, results, claimKey(lane.lane, 'a')]
  const dumps = await Promise.all(keys.map(key => lane.client.dumpBuffer(key)))
  return async () => {
    for (const [i, key] of keys.entries()) {
      const dump = dumps[i] ?? null
      if (dump === null) await lane.client.del(key)
      else await lane.client.restore(key, 0, dump, 'REPLACE')
    }
  }
}

const cursorOf = async (lane: TestLane, part: TestJob) => (await lane.record(part)).cursor

/** Reduces as an attached driver, up to a moment when it has more than Redis, which has gone back to `committed` tasks. */
async function reduceBeyondRedis(committed: number) {
  const lane = redis.lane()
  const part = await heldJob(lane)
  const mill = await connect({ redis: redis.process.url, namespace: lane.lane.namespace })
  const job = (await mill.attach(part.job)) as Job<number>
  const sum = job.reduce(add, 0)
  sum.catch(() => undefined)
  if (committed > 0) {
    await commit(lane, part, 0, committed)
    await until(async () => (await cursorOf(lane, part)) === committed, { what: 'the first checkpoint' })
  }
  const goBack = await remember(lane, part)
  await commit(lane, part, committed, 6)
  await until(async () => (await cursorOf(lane, part)) === 6, { what: 'the checkpoint that Redis loses' })
  await goBack()
  return { lane, part, sum, mill }
}

test.each([3, 0])(
  'an attached reduction starts over from its checkpoint at %i when Redis went back and the tasks are combined otherwise',
  async committed => {
    const { lane, part, sum, mill } = await reduceBeyondRedis(committed)
    await commit(lane, part, committed, 9)
    await commit(lane, part, 9, tasks)
    expect(await sum).toBe(sumOf(0, tasks))
    await mill.close()
  },
)

test('one whose checkpoint somebody has moved into the middle of what is combined says which tasks are lost', async () => {
  const { lane, part, sum, mill } = await reduceBeyondRedis(3)
  await lane.client.hset(partKeys(lane.lane, part.job).part, 'cursor', 6, 'accumulator', encodeValue(sumOf(0, 6)))
  await commit(lane, part, 3, 9)
  const error = await sum.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(TasksLostError)
  expect((error as TasksLostError).lost).toEqual([[6, 9]])
  await mill.close()
})

/** Adds up, and takes so long to encode that a checkpoint is stored half a second after the one before at the earliest. */
const addSlowly = reducer<unknown>('add', (a, b) => ({
  sum: sumIn(a) + sumIn(b),
  get slow() {
    const start = performance.now()
    while (performance.now() - start < 60);
    return true
  },
}))
const sumIn = (value: unknown) => (typeof value === 'number' ? value : (value as { sum: number }).sum)

test('a checkpoint is not stored over results that Redis has lost, whose tasks may be combined otherwise next', async () => {
  const lane = redis.lane()
  const part = await heldJob(lane)
  const mill = await connect({ redis: redis.process.url, namespace: lane.lane.namespace })
  const job = await mill.attach(part.job)
  let used = 0
  const counting = { ...addSlowly, fn: (a: unknown, b: unknown) => (used++, addSlowly.fn(a, b)) }
  const sum = job.reduce(counting, 0)
  await commit(lane, part, 0, 3)
  await until(async () => (await cursorOf(lane, part)) === 3, { what: 'the first checkpoint' })
  const goBack = await remember(lane, part)
  await commit(lane, part, 3, 6)
  await until(() => used === 2, { what: 'they are used', everyMs: 1 })
  await goBack()
  // The next checkpoint would be stored, and what it stands for is with a thread again.
  await sleep(1500)
  expect(await cursorOf(lane, part)).toBe(3)
  await commit(lane, part, 3, 9)
  await commit(lane, part, 9, tasks)
  expect(sumIn(await sum)).toBe(sumOf(0, tasks))
  await mill.close()
})

test.each(['stream', 'sum'] as const)(
  'what an attached %s has used is not taken from a longer run that came after Redis went back',
  async how => {
    const lane = redis.lane()
    const part = await (how === 'sum' ? heldJob(lane) : heldJob(lane, {}))
    const mill = await connect({ redis: redis.process.url, namespace: lane.lane.namespace })
    const job = (await mill.attach(part.job)) as Job<number>
    const seen: number[] = []
    const done = how === 'sum' ? job.reduce(add, 0) : consume(job, seen)
    const goBack = await remember(lane, part)
    const put = how === 'sum' ? commit : commitValues
    await put(lane, part, 0, 3)
    // The release of these goes out a moment after they were used.
    if (how === 'stream') await until(() => seen.length === 3, { what: 'they are used', everyMs: 1 })
    // What comes now is not heard, and found in the Hash.
    await lane.client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await goBack()
    await put(lane, part, 0, 6)
    await put(lane, part, 6, tasks)
    await done
    if (how === 'sum') expect(await done).toBe(sumOf(0, tasks))
    else expect(seen).toEqual(Array.from({ length: tasks }, (_, i) => i))
    await mill.close()
  },
)

async function consume(job: Job<number>, seen: number[]): Promise<void> {
  for await (const value of job) seen.push(value)
}
