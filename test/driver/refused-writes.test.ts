import { randomUUID } from 'node:crypto'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { JobCancelledError } from '../../src/index.ts'
import type { Job } from '../../src/index.ts'
import { caught } from '../support/caught.ts'
import { until } from '../support/until.ts'
import { runCli, compiled } from '../cli/support/cli.ts'
import { startBench } from './support/bench.ts'
import type { Bench } from './support/bench.ts'
import { bytesOf, square, wait } from './support/tasks.ts'

/** A real server that refuses to write, for each of the reasons that it has. */
let bench: Bench

beforeAll(async () => {
  await compiled()
  bench = await startBench({ redis: { port: true, config: { save: '3600 1' } } })
})
afterAll(() => bench[Symbol.asyncDispose]())

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i)
const waits = (count: number, ms: number) => numbers(count).map(value => ({ ms, value }))

const says = (job: Pick<Job<unknown>, 'progress'>, what: string) =>
  until(async () => (await job.progress()).waitingFor?.includes(what), { what: `it says that ${what}` })

interface Refusal {
  readonly begin: () => Promise<unknown>
  readonly end: () => Promise<unknown>
  readonly words: string
  readonly commitsGoOn: boolean
}

const cli = (...args: string[]) => bench.redis.cli(...args)
const obstacle = () => join(bench.redis.dir, 'dump.rdb')

const refusals: Readonly<Record<string, Refusal>> = {
  'over its memory limit': {
    begin: () => cli('CONFIG', 'SET', 'maxmemory', '1mb'),
    end: () => cli('CONFIG', 'SET', 'maxmemory', '0'),
    words: 'accept writes again: it is over its memory limit (maxmemory)',
    commitsGoOn: true,
  },
  'unable to save': {
    begin: async () => {
      // A folder that is not empty can't be replaced by the snapshot's file, even by root.
      await rm(obstacle(), { force: true })
      await mkdir(obstacle())
      await writeFile(join(obstacle(), 'in the way'), '')
      await cli('BGSAVE')
      await until(async () => (await cli('INFO', 'persistence')).includes('rdb_last_bgsave_status:err'), {
        what: 'the snapshot has failed',
      })
    },
    end: async () => {
      await rm(obstacle(), { recursive: true })
      await cli('BGSAVE')
      await until(async () => (await cli('INFO', 'persistence')).includes('rdb_last_bgsave_status:ok'), {
        what: 'the snapshot is made',
      })
    },
    words: 'accept writes again: its last snapshot failed',
    commitsGoOn: false,
  },
  'a read-only replica': {
    begin: () => cli('REPLICAOF', '127.0.0.1', '1'),
    end: () => cli('REPLICAOF', 'NO', 'ONE'),
    words: 'accept writes again: it is a read-only replica',
    commitsGoOn: false,
  },
}

test('a detached job with large inputs pulls no more than a few of them ahead', async () => {
  const { begin, end, words } = refusals['over its memory limit']!
  await begin()
  let pulled = 0
  function* inputs() {
    const input = Buffer.alloc(4_300_000, 1)
    for (; pulled < 24; pulled++) yield input
  }
  const job = bench.mill.map(bytesOf, inputs(), { detached: true })
  await says(job, words)
  const whileFull = pulled
  await end()
  expect(await job.results()).toEqual(Array.from({ length: 24 }, () => 4_300_000))
  expect(whileFull).toBeLessThan(12)
})

describe.each(Object.entries(refusals))('a Redis that is %s', (_name, { begin, end, words, commitsGoOn }) => {
  test('is waited for, with the reason, by what is submitted and what runs; all goes on by itself', async () => {
    const running = bench.mill.map(wait, waits(30, 150))
    const results = running.results()
    await until(async () => (await running.progress()).done >= 2, { what: 'some are done' })
    await begin()
    const submitted = bench.mill.map(square, numbers(2000), { id: 'submitted-meanwhile' })
    const squares = submitted.results()
    await says(submitted, words)
    if (commitsGoOn) expect(await results).toEqual(numbers(30))
    else {
      await says(running, words)
      const shown = await runCli(['jobs', running.id, '--redis', bench.redis.url])
      expect(shown.stdout).toContain(words)
    }
    await end()
    expect(await squares).toEqual(numbers(2000).map(x => x * x))
    expect(await results).toEqual(numbers(30))
    expect(await bench.mill.run(square, 12)).toBe(144)
  })

  test('is waited for by who connects and attaches, with the reason where the id was given', async () => {
    const [first, second] = [randomUUID(), randomUUID()]
    const other = await bench.connect()
    for (const id of [first, second]) await other.map(square, numbers(100), { id, detached: true }).submitted()
    await begin()
    const attached = bench.connect({ connectTimeoutMs: 60_000 }).then(mill => mill.attach(first))
    const again = bench.mill.map(square, numbers(100), { id: second, detached: true })
    const squares = [attached.then(job => job.results()), again.results()]
    try {
      // Out of memory, it may still say who collects.
      if (!commitsGoOn) {
        await says(again, words)
        expect(await Promise.race([attached, sleep(500, 'waits')])).toBe('waits')
      }
    } finally {
      await end()
    }
    for (const result of squares) expect(await result).toEqual(numbers(100).map(x => x * x))
  })

  test('is waited for no longer than the user wants', async () => {
    await begin()
    try {
      const started = performance.now()
      const error = await caught(bench.mill.map(square, numbers(100), { signal: AbortSignal.timeout(1500) }).results())
      expect(error).toBeInstanceOf(JobCancelledError)
      expect((error as Error).message).toContain(words)
      expect((error as Error).cause).toMatchObject({ name: 'TimeoutError' })
      expect(performance.now() - started).toBeLessThan(10_000)
    } finally {
      await end()
    }
    expect(await bench.mill.map(square, numbers(100)).results()).toHaveLength(100)
  })
})
