import { createInterface } from 'node:readline'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Proxy } from '../../chaos/proxy.ts'
import { CodeMismatchError } from '../../src/index.ts'
import { openClient } from '../../src/store/client.ts'
import { redisTarget } from '../../src/store/target.ts'
import { TestLane } from '../store/support/lane.ts'
import { until } from '../support/until.ts'
import { startBench } from './support/bench.ts'
import type { Bench } from './support/bench.ts'
import { same, wait } from './support/tasks.ts'

let bench: Bench
let monitor: Socket
/** The commands that Redis runs, in order. */
const commands: string[] = []

beforeAll(async () => {
  bench = await startBench({ threads: 1 })
  monitor = connect(bench.redis.socketPath)
  monitor.write('MONITOR\r\n')
  createInterface({ input: monitor }).on('line', line => commands.push(line.toLowerCase()))
  await until(() => commands.includes('+ok'), { what: 'Redis tells what it runs' })
})
afterAll(async () => {
  monitor.destroy()
  await bench[Symbol.asyncDispose]()
})

test('the driver looks at its jobs when it listens again, and does not leave it to the next poll', async () => {
  const job = bench.mill.map(wait, [{ ms: 60_000, value: 1 }])
  const results = job.results().catch(() => undefined)
  await until(async () => (await job.progress()).running === 1, { what: 'it runs' })
  const looks = () => commands.findLastIndex(line => line.includes('"hmget"') && line.includes(`:part:${job.id}"`))
  // A poll looks at a job that hears nothing, and asks the listening connection right after.
  const pings = () => commands.filter(line => line.endsWith('"ping"')).length
  const before = pings()
  await until(() => pings() > before, { what: 'a poll' })
  const from = commands.length
  await bench.redis.cli('CLIENT', 'KILL', 'TYPE', 'pubsub')
  const subscribed = await until(
    () => {
      const at = commands.findIndex(
        (line, index) => index >= from && line.includes('"subscribe"') && line.includes(':collector:'),
      )
      return at < 0 ? undefined : at
    },
    { what: 'it listens again' },
  )
  await until(() => looks() > subscribed, { what: 'it looks' })
  const polled = () => commands.findIndex((line, index) => index > subscribed && line.endsWith('"ping"'))
  await until(() => polled() > 0, { what: 'the next poll' })
  const between = commands.slice(subscribed, polled())
  // One of its own, and the poll's.
  expect(between.filter(line => line.includes('"hmget"') && line.includes(`:part:${job.id}"`)).length).toBeGreaterThan(
    1,
  )
  await job.cancel()
  await results
})

test('and decides anew which code a task has, since workers may have come and gone', async () => {
  const proxy = new Proxy(bench.redis.socketPath)
  const mill = await bench.connect({ redis: await proxy.listen(), tasks: undefined as never })
  expect(await mill.run(same, 1)).toBe(1)
  proxy.setMode({ kind: 'swallow' })
  const client = openClient(redisTarget(bench.redis.url), { name: 'millrace:test', silenceMs: 5000 })
  await new TestLane(client, 'millrace', 0).join('newcomer', [], { info: { tasks: ['same'], hash: 'other' } })
  client.disconnect()
  proxy.setMode({ kind: 'pass' })
  proxy.cutSilent()
  const refused = () =>
    mill.run(same, 1).then(
      () => false,
      (error: unknown) => error instanceof CodeMismatchError,
    )
  await until(refused, { what: 'it refuses to guess', timeoutMs: 15_000 })
  await mill.close()
  await proxy.close()
})
