import { checkResults } from '../core/check.ts'
import { numbers } from '../core/rate-side.ts'
import { atMost, measured, medianOf } from '../core/report.ts'
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
    const few = numbers(quick ? 5000 : 20_000)
    const waiting: number[] = []
    const done: number[] = []
    const ours = await openFleet(0)
    const bull = await BullMq.open(0)
    const bullWaiting: number[] = []
    try {
      for (let round = 0; round < rounds; round++) {
        waiting.push((await waitingBytes(ours, many)) / many.length)
        await bull.server.flush()
        const before = await bull.server.usedMemory()
        await bull.add(few)
        bullWaiting.push(((await bull.server.usedMemory()) - before) / few.length)
      }
    } finally {
      await ours.close()
      await bull.close()
    }
    const fleet = await openFleet(threads)
    try {
      for (let round = 0; round < rounds; round++) done.push((await doneBytes(fleet, many)) / many.length)
    } finally {
      await fleet.close()
    }
    const sides = [
      measured('Millrace, waiting', 'a detached map of the numbers 0 … n − 1 with no worker', waiting),
      measured('Millrace, uncollected', 'the same job when its tasks are done and nothing is collected', done),
      measured('BullMQ, waiting', 'addBulk of the numbers with no worker', bullWaiting),
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
        `bytes = (used_memory after − used_memory before) ÷ tasks, each after MEMORY PURGE and a pause until two looks agree; ${many.length} tasks (BullMQ ${few.length})`,
      ],
    }
  },
}

async function waitingBytes({ server, mill }: Fleet, inputs: readonly number[]): Promise<number> {
  const before = await steadyMemory(server)
  const job = mill.map(noop, inputs, { detached: true })
  await job.submitted()
  const after = await steadyMemory(server)
  await job.cancel()
  return after - before
}

async function doneBytes({ server, mill }: Fleet, inputs: readonly number[]): Promise<number> {
  const before = await steadyMemory(server)
  const job = mill.map(noop, inputs, { detached: true })
  await job.submitted()
  for (;;) {
    const { done } = await job.progress()
    if (done === inputs.length) break
  }
  const after = await steadyMemory(server)
  checkResults('Millrace', await job.results(), inputs.length, index => inputs[index]!)
  return after - before
}

/** Buffers of clients come and go: two looks that agree are believed. */
async function steadyMemory(server: Fleet['server']): Promise<number> {
  let last = await server.usedMemory()
  for (;;) {
    await new Promise(resolve => setTimeout(resolve, 200))
    const now = await server.usedMemory()
    if (Math.abs(now - last) < 20_000) return now
    last = now
  }
}
