import { checkResults } from '../core/check.ts'
import { predictRate } from '../core/model.ts'
import { preciseCpuSeconds } from '../core/process-cost.ts'
import { measured } from '../core/report.ts'
import type { Cost } from '../core/report.ts'
import { quantile } from '../core/stats.ts'
import { round as rounded } from '../core/table.ts'
import { BareThreads } from '../sides/bare-threads.ts'
import { openFleet } from '../sides/millrace.ts'
import type { Fleet } from '../sides/millrace.ts'
import { stepsPerMicrosecond } from '../work/calibrate.ts'
import { spin } from '../work/spin.ts'
import { work } from '../work/tasks.ts'
import { threads as cores } from './row.ts'
import type { Row } from './row.ts'
import { spinInputs } from './spin-rounds.ts'

const sizes = [
  { name: 'no-op', workUs: 0, count: 1_000_000, quick: 100_000 },
  { name: '100 µs', workUs: 100, count: 10_000, quick: 1000 },
  { name: '10 ms', workUs: 10_000, count: 200, quick: 10 },
] as const

/** What a task costs at the driver, at Redis and at a worker; and whether that predicts what a second thread brings. */
export const row: Row = {
  async run({ rounds, quick }) {
    const fleets: { readonly threads: number; readonly fleet: Fleet }[] = []
    const found = new Map<string, Cost[]>()
    try {
      const stepsPerUs = await calibrate()
      for (const threads of [1, 2]) fleets.push({ threads, fleet: await openFleet(threads) })
      for (let round = 0; round <= Math.min(rounds, 3); round++) {
        for (const size of sizes) {
          const inputs = [...spinInputs(size.workUs, stepsPerUs, quick ? size.quick : size.count)]
          const expected = inputs.map(spin)
          for (const { threads, fleet } of fleets) {
            const cost = await measureCost(fleet, threads, size.workUs, inputs, expected)
            const key = sideName(size.name, threads)
            if (round > 0) found.set(key, [...(found.get(key) ?? []), cost])
          }
        }
      }
    } finally {
      for (const { fleet } of fleets) await fleet.close()
    }
    const costs = [...found.values()].map(medianCost)
    return {
      title: 'CPU time per task at driver, Redis and workers, and what it predicts',
      unit: 'tasks/s',
      sides: [...found].map(([name, all]) =>
        measured(
          name,
          'map(work, inputs).results(); CPU time by /proc/<pid>/task/*/schedstat',
          all.map(({ tasksPerSecond }) => tasksPerSecond),
        ),
      ),
      verdicts: [],
      notes: costs.map(describeCost),
      costs,
    }
  },
}

function sideName(size: string, threads: number): string {
  return `${size}, ${threads} thread${threads === 1 ? '' : 's'}`
}

async function calibrate(): Promise<number> {
  const bare = await BareThreads.open(cores)
  try {
    return await stepsPerMicrosecond(bare, cores)
  } finally {
    await bare.close()
  }
}

async function measureCost(
  { mill, server, workerPids }: Fleet,
  threads: number,
  workUs: number,
  inputs: readonly number[],
  expected: readonly number[],
): Promise<Cost> {
  const places = [process.pid, server.pid, ...workerPids]
  const before = places.map(preciseCpuSeconds)
  const started = performance.now()
  const results = await mill.map(work, inputs).results()
  const seconds = (performance.now() - started) / 1000
  const [driverUs = 0, redisUs = 0, ...workers] = places.map(
    (pid, at) => ((preciseCpuSeconds(pid) - before[at]!) * 1e6) / inputs.length,
  )
  checkResults<unknown>('Millrace', results, inputs.length, index => expected[index])
  const workerUs = workers.reduce((sum, each) => sum + each, 0)
  return { workUs, threads, tasksPerSecond: inputs.length / seconds, driverUs, redisUs, workerUs }
}

function medianCost(all: readonly Cost[]): Cost {
  const median = (field: keyof Cost) =>
    quantile(
      all.map(cost => cost[field]),
      0.5,
    )
  return {
    workUs: median('workUs'),
    threads: median('threads'),
    tasksPerSecond: median('tasksPerSecond'),
    driverUs: median('driverUs'),
    redisUs: median('redisUs'),
    workerUs: median('workerUs'),
  }
}

function describeCost(cost: Cost): string {
  const { workUs, threads, driverUs, redisUs, workerUs } = cost
  const parts = `driver ${rounded(driverUs)}, Redis ${rounded(redisUs)}, worker ${rounded(workerUs)} µs`
  return `${workUs} µs of work, ${threads} thread(s): ${parts} of CPU time a task; the model says ${rounded(predictRate(cost, { threads, cores }))} tasks/s for this`
}
