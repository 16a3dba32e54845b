import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Mill } from '../../src/index.ts'
import { until } from '../support/until.ts'
import { startBench } from './support/bench.ts'
import type { Bench } from './support/bench.ts'
import { wait } from './support/tasks.ts'

let bench: Bench

beforeAll(async () => {
  bench = await startBench()
})
afterAll(() => bench[Symbol.asyncDispose]())

/** The first is slow, so that results are used, and released, out of order. */
const inputs = Array.from({ length: 12 }, (_, value) => ({ ms: value === 0 ? 1500 : 1, value }))

const collectors = {
  'results()': async (mill: Mill, id: string) => (await mill.attach(id, wait)).results(),
  'a loop': async (mill: Mill, id: string) => {
    const seen: number[] = []
    for await (const value of await mill.attach(id, wait)) seen.push(value)
    return seen
  },
  'a loop without order': async (mill: Mill, id: string) => {
    const seen: number[] = []
    for await (const [index] of mill.map(wait, inputs, { id, ordered: false })) seen.push(index)
    return seen.sort((a, b) => a - b)
  },
}

test.each(Object.entries(collectors))(
  '%s of another driver gets what a former one has not released',
  async (_, rest) => {
    const id = `parted-${randomBytes(4).toString('hex')}`
    const former = await bench.connect()
    const pairs = former.map(wait, inputs, { id, ordered: false })[Symbol.asyncIterator]()
    for (let i = 0; i < 6; i++) await pairs.next()
    const part = `{millrace:default:0}:part:${id}`
    const released = async () => Number(await bench.redis.cli('HGET', part, 'released'))
    await until(async () => (await released()) > 0, { what: 'something is released' })
    await former.close()
    const left = inputs.length - (await released())
    const seen = await rest(await bench.connect(), id)
    expect(seen).toHaveLength(left)
    expect(seen[0]).toBe(0)
  },
)
