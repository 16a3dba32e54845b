import { afterAll, beforeAll, expect, test } from 'vitest'
import { task } from '../../src/index.ts'
import type { Job, Mill } from '../../src/index.ts'
import { waitInWords } from '../../src/store/inspect/explain-wait.ts'
import type { WaitFacts } from '../../src/store/inspect/explain-wait.ts'
import { refusalOf } from '../../src/store/inspect/refusal.ts'
import { openClient } from '../../src/store/client.ts'
import { LaneStore } from '../../src/store/lane-store.ts'
import { redisTarget } from '../../src/store/target.ts'
import { runCli, compiled } from '../cli/support/cli.ts'
import { until } from '../support/until.ts'
import { startBench, tasksFile } from './support/bench.ts'
import type { Bench } from './support/bench.ts'
import { refuseThenDo, square, wait } from './support/tasks.ts'

/** What a job says that it waits for; while Redis refuses writes, see refused-writes.test.ts. */
const worker = { hash: 'c0de', tasks: ['square'], threads: 2 }
const facts: WaitFacts = {
  state: 'open',
  task: 'square',
  hash: 'c0de',
  complete: true,
  submitted: 10,
  waiting: 4,
  settled: 6,
  delayed: 0,
  retryInMs: undefined,
  workers: [worker],
  idleThreads: 0,
}
const full = refusalOf({
  isReplica: false,
  snapshotFailed: false,
  stopsThen: true,
  aofFailed: false,
  usedBytes: 2,
  mostBytes: 1,
})
const replica = refusalOf({
  isReplica: true,
  snapshotFailed: false,
  stopsThen: true,
  aofFailed: false,
  usedBytes: 1,
  mostBytes: 0,
})

test.each<[Partial<WaitFacts>, RegExp | undefined]>([
  [{}, /^all 2 threads that run this code are busy$/],
  [{ idleThreads: 1 }, /^a thread to take it/],
  [{ waiting: 3 }, undefined],
  [{ waiting: 3, staged: 1 }, /^all 2 threads that run this code are busy$/],
  [{ waiting: 0, staged: 3 }, undefined],
  [{ workers: [] }, /^no worker is running; start one with/],
  [{ workers: [{ ...worker, hash: 'beef', tasks: ['cube'] }] }, /none of the 1 workers has a task "square"$/],
  [{ workers: [{ ...worker, hash: 'beef' }] }, /in other code \(beef\); restart them with the driver's version/],
  [{ waiting: 0, delayed: 4, retryInMs: 3000 }, /^retry in 3 s$/],
  [{ waiting: 0, delayed: 4, retryInMs: -5 }, /^retry in 0 ms$/],
  [{ state: 'parked' }, /^its driver is gone; attach to go on$/],
  [{ state: 'cancelled' }, /^nothing: it was cancelled$/],
  [{ state: 'gone' }, /^nothing: Redis does not know the job/],
  [{ settled: 10, waiting: 0 }, undefined],
  [{ settled: 10, waiting: 0, complete: false }, /^its driver to submit more inputs$/],
  [{ settled: 10, waiting: 0, complete: false, refusal: full }, /^Redis to accept writes again: .*maxmemory/],
  [{ refusal: full }, /^all 2 threads/],
  [{ waiting: 3, refusal: replica }, /^Redis to accept writes again: it is a read-only replica$/],
  [{ settled: 10, waiting: 0, refusal: replica }, undefined],
])('%j waits for %s', (change, words) => {
  const said = waitInWords({ ...facts, ...change })
  if (words === undefined) expect(said).toBeUndefined()
  else expect(said).toMatch(words)
})

let bench: Bench

beforeAll(async () => {
  await compiled()
  bench = await startBench({ threads: 1, redis: { port: true } })
})
afterAll(() => bench[Symbol.asyncDispose]())

/** Waits until the job says so itself, and then has the command line say it too. */
async function mustSay(job: Pick<Job<unknown>, 'id' | 'progress'>, words: RegExp) {
  await until(async () => words.test((await job.progress()).waitingFor ?? ''), { what: `it says ${String(words)}` })
  const shown = JSON.parse((await runCli(['jobs', job.id, '--json', '--redis', bench.redis.url])).stdout) as {
    waitsFor: string
  }
  expect(shown.waitsFor).toMatch(words)
}

const busy = (mill: Mill) => mill.map(wait, [{ ms: 60_000, value: 1 }])

test('a busy fleet, a retry, a slow consumer and a driver that is gone are said by the job and the command line', async () => {
  const { mill } = bench
  const hog = busy(mill)
  hog.results().catch(() => undefined)
  await until(async () => (await hog.progress()).running === 1, { what: 'the only thread is taken' })
  const waiting = mill.map(square, [1, 2, 3])
  const results = waiting.results()
  await mustSay(waiting, /^all 1 threads that run this code are busy$/)
  await hog.cancel()
  expect(await results).toEqual([1, 4, 9])

  const retried = mill.map(refuseThenDo, [1])
  const retriedResults = retried.results()
  await mustSay(retried, /^retry in (\d+ s|\d+ ms)$/)
  await retried.cancel()
  await expect(retriedResults).rejects.toThrow('cancelled')

  const client = openClient(redisTarget(bench.redis.url), { name: 'test', silenceMs: 5000 })
  const store = new LaneStore(client, { namespace: 'millrace', queue: 'default', lane: 0 })
  const abandoned = await bench.connect()
  const left = abandoned.map(wait, [{ ms: 60_000, value: 1 }], { id: 'left-behind' })
  await left.submitted()
  await abandoned.close()
  await client.zadd(store.keys.driven, 1, left.id)
  expect(await store.upkeep.park(left.id, (await store.upkeep.hashOf(left.id)) ?? '')).toBe('parked')
  const shown = await runCli(['jobs', left.id, '--redis', bench.redis.url])
  expect(shown.stdout).toMatch(/waits for +its driver is gone; attach to go on/)
  await (await mill.attach(left.id)).cancel()
  client.disconnect()
})

test('no task is retried behind the back of a driver that is alive', async () => {
  const job = busy(bench.mill)
  job.results().catch(() => undefined)
  await job.submitted()
  const refused = await runCli(['jobs', job.id, '--retry', '0', '--redis', bench.redis.url])
  expect(refused).toMatchObject({
    code: 1,
    stdout: '',
    stderr: expect.stringMatching(/RETRY_REFUSED.*driver is alive/) as unknown,
  })
  await job.cancel()
})

test('a fleet that does not know the task, or has other code, is said', async () => {
  const stranger = await bench.connect({ tasks: undefined as never })
  const unknown = stranger.map(
    task('nobody', (x: number) => x),
    [1],
  )
  unknown.results().catch(() => undefined)
  // It is not submitted before its code is known, so that only its driver can tell.
  await until(async () => (await unknown.progress()).waitingFor === 'a worker that knows the task "nobody"', {
    what: 'it says so',
  })
  await unknown.cancel()

  const lonely = await bench.connect({ tasks: tasksFile, queue: 'nobody-works-here' })
  const alone = lonely.map(square, [1])
  alone.results().catch(() => undefined)
  await until(async () => (await alone.progress()).waitingFor?.startsWith('no worker is running'), {
    what: 'it says that no worker is there',
  })
  await alone.cancel()
})
