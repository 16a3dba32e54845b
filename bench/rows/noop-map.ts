import { withSides, alternate } from '../core/alternate.ts'
import { range } from '../core/millrace.ts'
import { numbers, rateSide } from '../core/rate-side.ts'
import { atLeast, medianOf } from '../core/report.ts'
import { BeeQueue, beeHow } from '../sides/bee-queue.ts'
import { BullMq, bullHow } from '../sides/bullmq.ts'
import { millraceHow, openFleet } from '../sides/millrace.ts'
import { pythonSides } from '../sides/python.ts'
import { PiscinaPool, piscinaHow } from '../sides/piscina.ts'
import { RawPacked, rawPackedHow } from '../sides/raw.ts'
import { noop } from '../work/tasks.ts'
import { threads } from './row.ts'
import type { Row } from './row.ts'

/** Tasks that do nothing: what is left is what a task costs. */
export const row: Row = {
  async run({ rounds, quick }) {
    const many = numbers(quick ? 300_000 : 1_000_000)
    const few = numbers(quick ? 3000 : 10_000)
    const some = numbers(quick ? 20_000 : 50_000)
    const python = await pythonSides(quick ? 200 : 2000)
    const openers = [
      async () => {
        const fleet = await openFleet(threads)
        return rateSide('Millrace', millraceHow(threads), many, fleet, inputs => fleet.mill.map(noop, inputs).results())
      },
      async () => {
        const fleet = await openFleet(threads)
        const how = `as above with range(${many.length}), whose chunks have no payload`
        return rateSide('Millrace, range', how, many, fleet, ({ length }) =>
          fleet.mill.map(noop, range(length)).results(),
        )
      },
      async () => {
        const bull = await BullMq.open(1)
        return rateSide('BullMQ', bullHow, few, bull, inputs => bull.map(inputs))
      },
      async () => {
        const bee = await BeeQueue.open()
        return rateSide('bee-queue', beeHow, few, bee, inputs => bee.map(inputs))
      },
      async () => {
        const pool = await PiscinaPool.open(threads)
        return rateSide('Piscina', piscinaHow(threads), some, pool, inputs => pool.map('noop', inputs))
      },
      async () => {
        const raw = await RawPacked.open()
        return rateSide('raw packed', rawPackedHow, many, raw, inputs => raw.map(inputs))
      },
      ...python.sides.map(side => () => Promise.resolve(side)),
    ]
    const sides = await withSides(openers, sides => alternate(sides, rounds))
    const ours = medianOf(sides, 'Millrace')
    return {
      title: 'no-op tasks by map, results gathered in order',
      unit: 'tasks/s',
      sides,
      verdicts: [
        atLeast('tasks/s', ours, 2e6),
        atLeast('× BullMQ', ours / medianOf(sides, 'BullMQ'), 200),
        atLeast('× Piscina', ours / medianOf(sides, 'Piscina'), 40),
      ],
      notes: [
        `${many.length} tasks a round for Millrace and the raw ceiling, ${few.length} for the queues, ${some.length} for Piscina: slow sides get fewer, and rates are compared`,
        ...python.notes,
      ],
    }
  },
}
