import { atLeast, measured, medianOf } from '../core/report.ts'
import { BareThreads } from '../sides/bare-threads.ts'
import { openFleet } from '../sides/millrace.ts'
import { stepsPerMicrosecond } from '../work/calibrate.ts'
import { work } from '../work/tasks.ts'
import { threads } from './row.ts'
import type { Row } from './row.ts'
import { measurePair, spinInputs } from './spin-rounds.ts'

/** The sizes that tasks should have, the rest of the machine's time that they should get, and how many a round has. */
const sizes = [
  { name: '100 µs', workUs: 100, bar: 0.95, count: 20_000, quick: 2000 },
  { name: '1 ms', workUs: 1000, bar: 0.98, count: 2000, quick: 200 },
  { name: '100 ms', workUs: 100_000, bar: 0.99, count: 40, quick: 4 },
] as const

/** How much of two cores is left for the tasks themselves. */
export const row: Row = {
  async run({ rounds, quick }) {
    const bare = await BareThreads.open(threads)
    const fleet = await openFleet(threads)
    const side = { name: 'Millrace', map: (inputs: readonly number[]) => fleet.mill.map(work, inputs).results() }
    const samples = sizes.map((): number[] => [])
    try {
      const stepsPerUs = await stepsPerMicrosecond(bare, threads)
      for (let round = 0; round <= rounds; round++) {
        for (const [at, size] of sizes.entries()) {
          const inputs = spinInputs(size.workUs, stepsPerUs, quick ? size.quick : size.count)
          const { bareSeconds, seconds } = await measurePair(side, bare, inputs, threads)
          if (round > 0) samples[at]!.push(bareSeconds / seconds)
        }
      }
    } finally {
      await fleet.close()
      await bare.close()
    }
    const sides = sizes.map(({ name }, at) =>
      measured(name, 'map(inputs).results() against two bare threads', samples[at]!),
    )
    return {
      title: 'efficiency on 2 threads and 2 cores',
      unit: 'of the bare threads’ speed',
      sides,
      verdicts: sizes.map(({ name, bar }) => atLeast(name, medianOf(sides, name), bar)),
      notes: [
        'two bare threads run the same inputs right before and right after each sample, and their mean is what it is compared with',
        'the driver and Redis share the two cores with the two threads',
      ],
    }
  },
}
