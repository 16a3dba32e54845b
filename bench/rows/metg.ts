import { granularityUs, metg } from '../core/metg.ts'
import type { Crossing } from '../core/metg.ts'
import { atMost, measured } from '../core/report.ts'
import type { CurvePoint, Verdict } from '../core/report.ts'
import { quantile } from '../core/stats.ts'
import { round } from '../core/table.ts'
import { BareThreads } from '../sides/bare-threads.ts'
import { BullMq } from '../sides/bullmq.ts'
import { openFleet } from '../sides/millrace.ts'
import { PiscinaPool } from '../sides/piscina.ts'
import { stepsPerMicrosecond } from '../work/calibrate.ts'
import { work } from '../work/tasks.ts'
import { threads } from './row.ts'
import type { Row } from './row.ts'
import { measurePair, spinInputs } from './spin-rounds.ts'
import type { Pair, SpinSide } from './spin-rounds.ts'

/** How small tasks may be before the machine is mostly busy with something else than tasks. */
export const row: Row = {
  async run({ rounds, quick }) {
    const bare = await BareThreads.open(threads)
    const found: Found[] = []
    try {
      for (const [at, open] of [openMillrace, openPiscina, openBullMq].entries()) {
        const side = await open()
        try {
          // The peers are far from the bar: what they would gain by more rounds is not worth the minutes.
          found.push(await measureSide(side, bare, at === 0 ? rounds : Math.min(rounds, 3), quick ? 0.05 : 0.4))
        } finally {
          await side.close()
        }
      }
    } finally {
      await bare.close()
    }
    const [ours] = found
    return {
      title: 'METG(50 %): the smallest task that keeps both cores half busy with tasks',
      unit: 'µs',
      sides: found.map(({ side, crossings }) =>
        measured(
          side.name,
          side.how,
          crossings.map(({ us }) => us),
        ),
      ),
      verdicts: ours === undefined ? [] : [verdictOf(metg(ours.points))],
      curves: found.map(({ side, points }) => ({ side: side.name, points })),
      notes: [
        'granularity = wall time × 2 threads ÷ tasks; efficiency = wall time of two bare threads with the same inputs (the mean of right before and right after) ÷ wall time',
        'the curve and the bar’s METG have the median of each size; each round gives a METG of its own, and the table their median',
        ...found.flatMap(({ side, crossings, points }) => [
          `${side.name}: ${describeCrossing(metg(points))} by the median curve`,
          ...crossings
            .filter(({ kind }) => kind !== 'at')
            .map(crossing => `${side.name}: a round ${describeCrossing(crossing)}, counted as that size`),
        ]),
      ],
    }
  },
}

interface Found {
  readonly side: SpinSide
  readonly points: readonly CurvePoint[]
  /** One a round. */
  readonly crossings: readonly Crossing[]
}

/** A METG of which only a lower bound is known has not reached the bar. */
function verdictOf(crossing: Crossing): Verdict {
  if (crossing.kind === 'more than')
    return { ...atMost('µs (not reached in range: more than)', crossing.us, 2), met: false }
  return atMost(crossing.kind === 'at' ? 'µs' : 'µs (kept in all of the range: at most)', crossing.us, 2)
}

function describeCrossing({ kind, us }: Crossing): string {
  if (kind === 'at') return `crosses 50 % at ${round(us)} µs`
  return `does not cross 50 % in range: its METG is ${kind} ${round(us)} µs`
}

async function measureSide(side: SpinSide, bare: BareThreads, rounds: number, seconds: number): Promise<Found> {
  const stepsPerUs = await stepsPerMicrosecond(bare, threads)
  const bySize = side.sizesUs.map((): CurvePoint[] => [])
  // Round by round over all sizes, so that a slow minute of the machine does not hit one size alone.
  for (let round = 0; round <= rounds; round++) {
    for (const [at, workUs] of side.sizesUs.entries()) {
      const count = Math.max(threads * 4, Math.min(side.mostTasks, Math.round((seconds * threads * 1e6) / workUs)))
      const pair = await measurePair(side, bare, spinInputs(workUs, stepsPerUs, count), threads)
      if (round > 0) bySize[at]!.push(pointOf(count, pair))
    }
  }
  const crossings = Array.from({ length: rounds }, (_, round) => metg(bySize.map(ofSize => ofSize[round]!)))
  return { side, points: bySize.map(ofSize => medianPoint(ofSize)), crossings }
}

function pointOf(count: number, { bareSeconds, seconds }: Pair): CurvePoint {
  return {
    workUs: granularityUs(bareSeconds, threads, count),
    granularityUs: granularityUs(seconds, threads, count),
    efficiency: bareSeconds / seconds,
  }
}

function medianPoint(points: readonly CurvePoint[]): CurvePoint {
  const median = (field: keyof CurvePoint) =>
    quantile(
      points.map(point => point[field]),
      0.5,
    )
  return { workUs: median('workUs'), granularityUs: median('granularityUs'), efficiency: median('efficiency') }
}

async function openMillrace(): Promise<SpinSide> {
  const fleet = await openFleet(threads)
  return {
    name: 'Millrace',
    how: 'map(inputs).results() with 2 threads',
    mostTasks: 1_000_000,
    sizesUs: [0.1, 0.25, 0.5, 1, 2, 5, 10, 100, 1000],
    map: inputs => fleet.mill.map(work, inputs).results(),
    close: () => fleet.close(),
  }
}

async function openPiscina(): Promise<SpinSide> {
  const pool = await PiscinaPool.open(threads)
  return {
    name: 'Piscina',
    how: 'pool.run() for all inputs at once, 2 threads',
    mostTasks: 10_000,
    sizesUs: [5, 10, 20, 50, 100, 200, 1000],
    map: inputs => pool.map('work', inputs),
    close: () => pool.close(),
  }
}

async function openBullMq(): Promise<SpinSide> {
  const bull = await BullMq.open(threads, 'work')
  return {
    name: 'BullMQ',
    how: 'addBulk, 2 worker processes (its guide: CPU-bound work scales by processes), concurrency 100',
    mostTasks: 2000,
    sizesUs: [100, 200, 500, 1000, 2000, 10_000],
    map: inputs => bull.map(inputs),
    close: () => bull.close(),
  }
}
