import { afterAll, beforeAll, expect, test } from 'vitest'
import { connect, MillraceError, range, ConnectionClosedError } from '../../src/index.ts'
import type { Mill, Task } from '../../src/index.ts'
import type { RedisProcess } from '../support/redis.ts'
import { seeded } from '../protocol/support/mutations.ts'
import { until } from '../support/until.ts'
import { Lab, startLabRedis, tasksFile } from '../worker/support/lab.ts'
import { Vandal } from './garbage.ts'

const acts = 10_000
const seed = Number(process.env['MILLRACE_FUZZ_SEED'] ?? 23)
const actsAtOnce = 50

let redis: RedisProcess
let lab: Lab
let mill: Mill
let square: Task<number, number, unknown>
/** Gives back its input. */
let whole: Task<Buffer, Buffer, unknown>

beforeAll(async () => {
  redis = await startLabRedis()
  lab = new Lab(redis)
  await lab.startWorker({ threads: 2, heapMb: 512, leaseMs: 2000 })
  mill = await connect({ redis: redis.url, namespace: lab.namespace, tasks: tasksFile })
  ;({ square, whole } = (await import(tasksFile)) as { square: typeof square; whole: typeof whole })
})

afterAll(async () => {
  await mill.close()
  await lab[Symbol.asyncDispose]()
  await redis.stop()
})

const squares = (count: number) => Array.from({ length: count }, (_, x) => x * x)

test(`${acts} writes of garbage into every key and channel end no process, and what they did not touch comes out right`, async () => {
  const spared = new Set<string>()
  const next = seeded(seed)
  const vandal = new Vandal(lab.client, lab.store, spared, next)
  const outcomes = { right: 0, victims: 0, rightVictims: 0, refused: new Map<string, number>() }
  let vandalizing = true

  const startSpared = async () => {
    for (let n = 0; vandalizing; n++) {
      const id = `spared-${n}-x`
      spared.add(id)
      const inputs = n % 2 ? range(3000) : squares(300).map((_, x) => x)
      const results = await mill.map(square, inputs, { id }).results()
      expect(results).toEqual(squares(n % 2 ? 3000 : 300))
      outcomes.right++
    }
  }
  const large = Array.from({ length: 6 }, (_, i) => Buffer.alloc(150_000, i + 1))
  const victims = [
    (id: string) => mill.map(square, squares(200), { id }).results(),
    (id: string) => mill.map(square, range(2000), { id }).results(),
    (id: string) => mill.map(square, squares(200), { id }).results(),
    // Too large for the List and the results.
    (id: string) => mill.map(whole, large, { id }).results(),
  ]
  const startVictims = async (n: number) => {
    while (vandalizing) {
      outcomes.victims++
      try {
        expect(await victims[n]!(`victim-${n}`)).toHaveLength([200, 2000, 200, 6][n]!)
        outcomes.rightVictims++
      } catch (error) {
        if (!(error instanceof MillraceError) || error instanceof ConnectionClosedError) throw error
        outcomes.refused.set(error.code, (outcomes.refused.get(error.code) ?? 0) + 1)
      }
    }
  }
  const jobs = Promise.all([startSpared(), ...victims.map((_, n) => startVictims(n))])
  jobs.catch(() => undefined)
  try {
    for (let done = 0; done < acts; done += actsAtOnce) {
      await vandal.look()
      await Promise.all(Array.from({ length: actsAtOnce }, () => vandal.act()))
    }
  } finally {
    vandalizing = false
  }
  const ended = await Promise.race([jobs.then(() => true), new Promise(resolve => setTimeout(resolve, 90_000, false))])
  const summary = [...vandal.tally].sort().map(([what, times]) => `${what} ${times}`)
  const refusals = [...outcomes.refused].map(([code, times]) => `${code} ${times}`)
  console.log(
    `live fuzz (seed ${seed}, ${acts} acts): ${summary.join(', ')}; spared jobs right ${outcomes.right}; victims ${outcomes.victims}, right ${outcomes.rightVictims}, refused ${refusals.join(', ')}`,
  )
  expect(ended).toBe(true)
  expect(outcomes.right).toBeGreaterThan(0)
  const [worker] = lab.workers
  expect(await Promise.race([worker!.exited, Promise.resolve('alive')])).toBe('alive')
  // The lane is well again: a job runs as on the first day.
  expect(await mill.map(square, range(1000)).results()).toEqual(squares(1000))
  await until(async () => (await lab.client.llen(lab.store.keys.malformed)) > 0, { what: 'garbage was set aside' })
}, 240_000)
