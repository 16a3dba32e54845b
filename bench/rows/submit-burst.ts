import { alternate, withSides } from '../core/alternate.ts'
import { numbers, rateSide } from '../core/rate-side.ts'
import { atLeast, medianOf } from '../core/report.ts'
import { BullMq, bullHow } from '../sides/bullmq.ts'
import { openFleet } from '../sides/millrace.ts'
import { noop } from '../work/tasks.ts'
import { threads } from './row.ts'
import type { Row } from './row.ts'

/** Single calls, made without waiting for one another: what a server with many requests at once does. */
export const row: Row = {
  async run({ rounds, quick }) {
    const many = numbers(quick ? 30_000 : 100_000)
    const few = numbers(quick ? 3000 : 10_000)
    const openers = [
      async () => {
        const fleet = await openFleet(threads)
        const how = `${many.length} calls of mill.submit() in one turn, every handle's result() awaited`
        return rateSide('Millrace', how, many, fleet, inputs =>
          Promise.all(inputs.map(input => fleet.mill.submit(noop, input).result())),
        )
      },
      async () => {
        const bull = await BullMq.open(1)
        return rateSide('BullMQ', bullHow, few, bull, inputs => bull.map(inputs))
      },
    ]
    const sides = await withSides(openers, sides => alternate(sides, rounds))
    return {
      title: 'no-op tasks by single submit calls in one burst',
      unit: 'tasks/s',
      sides,
      verdicts: [atLeast('× BullMQ addBulk', medianOf(sides, 'Millrace') / medianOf(sides, 'BullMQ'), 10)],
      notes: [],
    }
  },
}
