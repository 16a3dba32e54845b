import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { alternate, withSides } from '../core/alternate.ts'
import type { Side } from '../core/alternate.ts'
import { checkValue } from '../core/check.ts'
import { range } from '../core/millrace.ts'
import { atLeast, medianOf } from '../core/report.ts'
import { quantile } from '../core/stats.ts'
import { compileForThreads } from '../sides/compile.ts'
import { openFleet } from '../sides/millrace.ts'
import { add, primes } from '../work/tasks.ts'
import { threads } from './row.ts'
import type { Row } from './row.ts'

/** OEIS A006880. */
const known = new Map([
  [1e8, 5_761_455],
  [1e9, 50_847_534],
])
/** Two of the sieve's segments, so that no task ends within one. */
const span = 2 * 983_040
/** It takes half a second in one thread, which is short beside what else a machine does. */
const runsPerRound = 3

/** Real work: the primes below a billion. */
export const row: Row = {
  async run({ rounds, quick }) {
    const below = quick ? 1e8 : 1e9
    const openers = [
      async () => {
        const fleet = await openFleet(threads)
        const count = () => fleet.mill.map(primes, range(0, below, span), { shared: { below, span } }).reduce(add, 0)
        return countSide(
          'Millrace',
          `one task for ${span} numbers, map().reduce(add, 0), 2 threads`,
          below,
          count,
          () => fleet.close(),
        )
      },
      async () => {
        const thread = new Worker(await compileForThreads(new URL('../sides/prime-thread.ts', import.meta.url)))
        const count = async () => {
          thread.postMessage(below)
          const [answer] = (await once(thread, 'message')) as [number]
          return answer
        }
        return countSide('one thread', 'the same sieve over all of it in one bare thread', below, count, async () => {
          await thread.terminate()
        })
      },
    ]
    const sides = await withSides(openers, sides => alternate(sides, rounds))
    return {
      title: `π(10^${Math.log10(below)}) by segmented sieve`,
      unit: 's',
      sides,
      verdicts: [atLeast('× one thread', medianOf(sides, 'one thread') / medianOf(sides, 'Millrace'), 1.9)],
      notes: [`one sample is the median of ${runsPerRound} runs, all threads warm`],
    }
  },
}

function countSide(
  name: string,
  how: string,
  below: number,
  count: () => Promise<number>,
  close: () => Promise<void>,
): Side {
  return {
    name,
    how,
    async round() {
      const seconds: number[] = []
      for (let run = 0; run < runsPerRound; run++) {
        const started = performance.now()
        const found = await count()
        seconds.push((performance.now() - started) / 1000)
        checkValue(name, found, known.get(below))
      }
      return quantile(seconds, 0.5)
    },
    close,
  }
}
