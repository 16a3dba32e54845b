import { granularityUs, metg } from '../core/metg.ts'
import { atMost, measured } from '../core/report.ts'
import type { Curve, CurvePoint } from '../core/report.ts'
import { quantile } from '../core/stats.ts'
import { BareThreads } from '../sides/bare-threads.ts'
import { BullMq } from '../sides/bullmq.ts'
import { openFleet } from '../sides/millrace.ts'
import { PiscinaPool } from '../sides/piscina.ts'
import { stepsPerMicrosecond } from '../work/calibrate.ts'
import { work } from '../work/tasks.ts'
import { threads } from './row.ts'
import type { Row } from './row.ts'
import { measurePair, spinInputs } from './spin-rounds.ts'
import type { SpinSide } from './spin-rounds.ts'

/** How small tasks may be before the machine is mostly busy with something else than tasks. */
export const row: Row = {
  async run({ rounds, quick }) {
    const bare = await BareThreads.open(threads)
    const openers = [openMillrace, openPiscina, openBullMq]
    const found: { readonly how: string; readonly curve: Curve; readonly samples: number[] }[] = []
    try {
      for (const open of openers) {
        const side = await open()
        try {
          found.push(await measureSide(side, bare, rounds, quick ? 0.15 : 0.8))
        } finally {
          await side.close()
        }
      }
    } finally {
      await bare.close()
    }
    const sides = found.map(({ curve, how, samples }) => measured(curve.side, how, samples))
    const ours = metg(found[0]?.curve.points ?? []) ?? Infinity
    return {
      title: 'METG(50 %): the smallest task that keeps both cores half busy with tasks',
      unit: 'µs',
      sides,
      verdicts: [atMost('µs', ours, 2)],
      curves: found.map(({ curve }) => curve),
      notes: [
        'granularity = wall time × 2 threads ÷ tasks; efficiency = wall time of two bare threads with the same inputs, measured right before, ÷ wall time',
        'the curve has the median efficiency of each size; each round gives a METG of its own, and the table their median',
      ],
    }
  },
}

async function measureSide(
  side: SpinSide & { readonly how: string },
  bare: BareThreads,
  rounds: number,
  seconds: number,
) {
  const stepsPerUs = await stepsPerMicrosecond(bare, threads)
  const bySize = side.sizesUs.map((): CurvePoint[] => [])
  // Round by round over all sizes, so that a slow minute of the machine does not hit one size alone.
  for (let round = 0; round <= rounds; round++) {
    for (const [at, workUs] of side.sizesUs.entries()) {
      const count = Math.max(threads * 4, Math.min(side.mostTasks, Math.round((seconds * threads * 1e6) / workUs)))
      const pair = await measurePair(side, bare, spinInputs(workUs, stepsPerUs, count), threads)
      if (round > 0) bySize[at]!.push(pointOf(workUs, count, pair))
    }
  }
  const points = bySize.map(ofSize => medianPoint(ofSize))
  const samples = Array.from({ length: rounds }, (_, round) => metg(bySize.map(ofSize => ofSize[round]!)) ?? NaN)
  return { curve: { side: side.name, points }, how: side.how, samples: samples.filter(sample => !Number.isNaN(sample)) }
}

function pointOf(workUs: number, count: number, pair: { bareSeconds: number; seconds: number }): CurvePoint {
  return {
    workUs,
    granularityUs: granularityUs(pair.seconds, threads, count),
    efficiency: pair.bareSeconds / pair.seconds,
  }
}

function medianPoint(points: readonly CurvePoint[]): CurvePoint {
  return {
    workUs: points[0]?.workUs ?? NaN,
    granularityUs: quantile(
      points.map(point => point.granularityUs),
      0.5,
    ),
    efficiency: quantile(
      points.map(point => point.efficiency),
      0.5,
    ),
  }
}

async function openMillrace(): Promise<SpinSide & { readonly how: string }> {
  const fleet = await openFleet(threads)
  return {
    name: 'Millrace',
    how: 'map(inputs).results() with 2 threads',
    mostTasks: 1_000_000,
    sizesUs: [0.1, 0.25, 0.5, 1, 2, 5, 10, 100, 1000, 10_000],
    map: inputs => fleet.mill.map(work, inputs).results(),
    close: () => fleet.close(),
  }
}

async function openPiscina(): Promise<SpinSide & { readonly how: string }> {
  const pool = await PiscinaPool.open(threads)
  return {
    name: 'Piscina',
    how: 'pool.run() for all inputs at once, 2 threads',
    mostTasks: 50_000,
    sizesUs: [5, 10, 20, 50, 100, 200, 1000, 10_000],
    map: inputs => pool.map('work', inputs),
    close: () => pool.close(),
  }
}

async function openBullMq(): Promise<SpinSide & { readonly how: string }> {
  const bull = await BullMq.open(threads, 'work')
  return {
    name: 'BullMQ',
    how: 'addBulk, 2 worker processes (its guide: CPU-bound work scales by processes), concurrency 100',
    mostTasks: 8000,
    sizesUs: [50, 100, 200, 500, 1000, 2000, 10_000],
    map: inputs => bull.map(inputs),
    close: () => bull.close(),
  }
}
