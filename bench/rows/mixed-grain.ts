import { checkResults } from '../core/check.ts'
import { longestFirst, lowerBound } from '../core/makespan.ts'
import { atMost, measured, medianOf } from '../core/report.ts'
import type { Measured } from '../core/report.ts'
import { BareThreads } from '../sides/bare-threads.ts'
import type { BareRun } from '../sides/bare-threads.ts'
import { openFleet } from '../sides/millrace.ts'
import type { Fleet } from '../sides/millrace.ts'
import { stepsPerMicrosecond } from '../work/calibrate.ts'
import { spinInput } from '../work/spin.ts'
import { work } from '../work/tasks.ts'
import { threads } from './row.ts'
import type { Row } from './row.ts'

interface Mix {
  readonly name: string
  /** In µs, in the order of the inputs. */
  readonly durations: readonly number[]
  readonly rounds: number
}

/** Tasks of very different sizes: does the last one keep the others waiting? */
export const row: Row = {
  async run({ rounds, quick }) {
    const bare = await BareThreads.open(threads)
    const fleet = await openFleet(threads)
    const mixes = mixesFor(quick, rounds)
    const sides: Measured[] = []
    try {
      const stepsPerUs = await stepsPerMicrosecond(bare, threads)
      // Not counted: it compiles the loop in the threads of both.
      await overBound(
        { name: 'warm-up', durations: mixes[0]!.durations.slice(0, 100), rounds: 1 },
        stepsPerUs,
        bare,
        fleet,
      )
      for (const mix of mixes) {
        const samples: number[] = []
        for (let round = 0; round < mix.rounds; round++) samples.push(await overBound(mix, stepsPerUs, bare, fleet))
        sides.push(measured(mix.name, 'map(inputs).results(), no option', samples))
      }
    } finally {
      await fleet.close()
      await bare.close()
    }
    return {
      title: 'makespan of mixed task sizes',
      unit: '× the lower bound',
      sides,
      verdicts: mixes.map(({ name }) => atMost(name, medianOf(sides, name), 1.1)),
      notes: [
        'lower bound = max(what two bare threads together took for the same tasks ÷ 2, the longest task); bare threads run them right before and right after each round, and the mean of the two bounds counts',
      ],
    }
  },
}

function mixesFor(quick: boolean, rounds: number): Mix[] {
  const total = quick ? 100 : 1500
  const mixed = Array.from({ length: total }, (_, at) => (at % 10 === 9 ? 20_000 : 10))
  const few = Array.from({ length: 20 }, () => (quick ? 50_000 : 1_000_000))
  return [
    { name: '90 % 10 µs + 10 % 20 ms, shuffled', durations: shuffled(mixed), rounds },
    { name: '90 % 10 µs + 10 % 20 ms, short first', durations: mixed.toSorted((a, b) => a - b), rounds },
    { name: '90 % 10 µs + 10 % 20 ms, long first', durations: mixed.toSorted((a, b) => b - a), rounds },
    // Thirty seconds a round, and little noise in any of them.
    { name: quick ? '20 tasks of 0.05 s' : '20 tasks of 1 s', durations: few, rounds: 1 },
  ]
}

/** The makespan as a multiple of the lower bound, which is measured, since the machine is never twice the same. */
async function overBound(
  { name, durations }: Mix,
  stepsPerUs: number,
  bare: BareThreads,
  fleet: Fleet,
): Promise<number> {
  const inputs = durations.map((us, seed) => spinInput(Math.round(us * stepsPerUs), seed))
  const shares = longestFirst(durations, threads)
  const runBare = () => bare.run(shares.map(share => Float64Array.from(share, index => inputs[index]!)))
  const before = await runBare()
  const started = performance.now()
  const results = await fleet.mill.map(work, inputs).results()
  const seconds = (performance.now() - started) / 1000
  // A machine that gets slower or faster meanwhile does so for the bound too.
  const bound = (boundOf(durations, before) + boundOf(durations, await runBare())) / 2
  const expected = new Map<number, number>()
  for (const [at, share] of shares.entries()) {
    for (const [place, index] of share.entries()) expected.set(index, before.results[at]![place]!)
  }
  checkResults<unknown>(name, results, inputs.length, index => expected.get(index))
  return seconds / bound
}

/** The lower bound in seconds, with the durations that bare threads really needed. */
function boundOf(durations: readonly number[], { busySeconds }: BareRun): number {
  const busy = busySeconds.reduce((sum, seconds) => sum + seconds, 0)
  const perUs = busy / durations.reduce((sum, us) => sum + us, 0)
  return lowerBound(
    durations.map(us => us * perUs),
    threads,
  )
}

/** In an order that is the same in every run (Fisher–Yates with a fixed generator). */
function shuffled(values: readonly number[]): number[] {
  const result = [...values]
  let state = 1
  for (let at = result.length - 1; at > 0; at--) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    const other = state % (at + 1)
    ;[result[at], result[other]] = [result[other]!, result[at]!]
  }
  return result
}
