import { setTimeout as sleep } from 'node:timers/promises'
import { checkResults } from '../core/check.ts'
import { numbers } from '../core/rate-side.ts'
import { atMost, measured, medianOf } from '../core/report.ts'
import type { Measured } from '../core/report.ts'
import type { Server } from '../core/redis-server.ts'
import { BullMq } from '../sides/bullmq.ts'
import { openFleet } from '../sides/millrace.ts'
import type { Fleet } from '../sides/millrace.ts'
import { noop } from '../work/tasks.ts'
import { threads } from './row.ts'
import type { Row } from './row.ts'

/** What Redis keeps for a task that waits, and for a result that nobody has collected. */
export const row: Row = {
  async run({ rounds, quick }) {
    const many = numbers(quick ? 200_000 : 1_000_000)
    const few = numbers(quick ? 2000 : 10_000)
    const bullSides = await measureBullMq(rounds, few)
    const waiting = await withFleet(0, fleet => repeat(rounds, () => waitingBytes(fleet, many)))
    const done = await withFleet(threads, fleet => repeat(rounds, () => doneBytes(fleet, many)))
    const side = (name: string, how: string, found: readonly Bytes[], which: keyof Bytes) =>
      measured(
        name,
        how,
        found.map(bytes => bytes[which] / many.length),
      )
    const sides = [
      side('Millrace, waiting', 'a detached map of the numbers 0 … n − 1 with no worker', waiting, 'used'),
      side('… of which the List', 'MEMORY USAGE of its part’s chunks', waiting, 'key'),
      side('Millrace, uncollected', 'the same job, all tasks done and nothing collected', done, 'used'),
      side('… of which the Hash', 'MEMORY USAGE of its part’s results', done, 'key'),
      ...bullSides,
    ]
    return {
      title: 'Redis memory per numeric task',
      unit: 'B',
      sides,
      verdicts: [
        atMost('B waiting', medianOf(sides, 'Millrace, waiting'), 12),
        atMost('B uncollected', medianOf(sides, 'Millrace, uncollected'), 12),
      ],
      notes: [
        'bytes = (used_memory after − used_memory before) ÷ tasks, each after MEMORY PURGE and a pause until two looks agree; the job’s record and everything else that belongs to it are in it',
        'MEMORY USAGE (SAMPLES 0: all of it) of the one key that holds the tasks or the results, ÷ tasks',
        `${many.length} tasks; BullMQ ${few.length}`,
      ],
    }
  },
}

interface Bytes {
  /** By which used_memory has grown. */
  readonly used: number
  /** Of the one key that holds what is asked about. */
  readonly key: number
}

async function measureBullMq(rounds: number, inputs: readonly number[]): Promise<Measured[]> {
  const perTask = async (workers: number): Promise<number[]> => {
    const bull = await BullMq.open(workers, 'noop', { keepCompleted: true })
    try {
      return await repeat(Math.min(rounds, 3), async () => {
        await bull.server.flush()
        const before = await steadyMemory(bull.server)
        if (workers === 0) await bull.add(inputs)
        else await bull.map(inputs)
        return ((await steadyMemory(bull.server)) - before) / inputs.length
      })
    } finally {
      await bull.close()
    }
  }
  return [
    measured('BullMQ, waiting', 'addBulk of the numbers with no worker', await perTask(0)),
    measured('BullMQ, completed', 'the same when done and kept, its events included', await perTask(1)),
  ]
}

async function waitingBytes({ server, mill }: Fleet, inputs: readonly number[]): Promise<Bytes> {
  const before = await steadyMemory(server)
  const job = mill.map(noop, inputs, { detached: true })
  await job.submitted()
  const used = (await steadyMemory(server)) - before
  const key = await bytesOfKey(server, `*:part:${job.id}:chunks`)
  await job.cancel()
  return { used, key }
}

async function doneBytes({ server, mill }: Fleet, inputs: readonly number[]): Promise<Bytes> {
  const before = await steadyMemory(server)
  const job = mill.map(noop, inputs, { detached: true })
  await job.submitted()
  while ((await job.progress()).done < inputs.length) await sleep(20)
  const used = (await steadyMemory(server)) - before
  const key = await bytesOfKey(server, `*:part:${job.id}:results`)
  checkResults('Millrace', await job.results(), inputs.length, index => inputs[index]!)
  return { used, key }
}

async function bytesOfKey({ client }: Server, pattern: string): Promise<number> {
  let sum = 0
  for (const key of await client.keys(pattern)) sum += Number(await client.call('memory', 'usage', key, 'samples', '0'))
  return sum
}

async function withFleet<T>(count: number, use: (fleet: Fleet) => Promise<T>): Promise<T> {
  const fleet = await openFleet(count)
  try {
    return await use(fleet)
  } finally {
    await fleet.close()
  }
}

async function repeat<T>(times: number, run: () => Promise<T>): Promise<T[]> {
  const found: T[] = []
  for (let time = 0; time < times; time++) found.push(await run())
  return found
}

/** Buffers of clients come and go: two looks that agree are believed. */
async function steadyMemory(server: Server): Promise<number> {
  let last = await server.usedMemory()
  for (;;) {
    await sleep(200)
    const now = await server.usedMemory()
    if (Math.abs(now - last) < 20_000) return now
    last = now
  }
}
