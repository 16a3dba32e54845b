import { alternate, withSides } from '../core/alternate.ts'
import type { Side } from '../core/alternate.ts'
import { checkValue } from '../core/check.ts'
import { numbers } from '../core/rate-side.ts'
import { atLeast, medianOf } from '../core/report.ts'
import { BullMq } from '../sides/bullmq.ts'
import { millraceHow, openFleet } from '../sides/millrace.ts'
import { add, noop } from '../work/tasks.ts'
import { threads } from './row.ts'
import type { Row } from './row.ts'

/** Many tasks whose results become one. */
export const row: Row = {
  async run({ rounds, quick }) {
    const inputs = numbers(quick ? 2000 : 10_000)
    const openers = [
      async () => {
        const fleet = await openFleet(threads)
        const how = millraceHow(threads).replace('map()', 'map().reduce(add, 0)')
        return sumSide('Millrace', how, inputs, fleet, () => fleet.mill.map(noop, inputs).reduce(add, 0))
      },
      async () => {
        const bull = await BullMq.open(1)
        const how =
          'FlowProducer.add of one parent with all children; one worker process, concurrency 100; the parent adds up getChildrenValues()'
        return sumSide('BullMQ flow', how, inputs, bull, () => bull.sum(inputs))
      },
    ]
    const sides = await withSides(openers, sides => alternate(sides, rounds))
    return {
      title: `fan-out and fan-in of ${inputs.length} tasks`,
      unit: 'tasks/s',
      sides,
      verdicts: [atLeast('× BullMQ flow', medianOf(sides, 'Millrace') / medianOf(sides, 'BullMQ flow'), 100)],
      notes: ['one warm-up of the same size for both sides is not counted'],
    }
  },
}

function sumSide(
  name: string,
  how: string,
  inputs: readonly number[],
  owner: { close(): Promise<void> },
  sum: () => Promise<unknown>,
): Side {
  const expected = inputs.reduce((a, b) => a + b, 0)
  return {
    name,
    how,
    async round() {
      const started = performance.now()
      const result = await sum()
      const seconds = (performance.now() - started) / 1000
      checkValue(name, result, expected)
      return inputs.length / seconds
    },
    close: () => owner.close(),
  }
}
