import { alternate, withSides } from '../core/alternate.ts'
import type { Side } from '../core/alternate.ts'
import { checkValue } from '../core/check.ts'
import { atMost, medianOf } from '../core/report.ts'
import { quantile } from '../core/stats.ts'
import { BullMq, bullHow } from '../sides/bullmq.ts'
import { openFleet } from '../sides/millrace.ts'
import { RawLatency, rawLatencyHow } from '../sides/raw.ts'
import { noop } from '../work/tasks.ts'
import type { Row } from './row.ts'

/** One task at a time, each sent when the result of the one before is there. */
export const row: Row = {
  async run({ rounds, quick }) {
    const calls = quick ? 300 : 1000
    const openers = [
      async () => {
        const fleet = await openFleet(1)
        return latencySide(
          'Millrace',
          'await mill.run(noop, i); one worker process with one thread',
          calls,
          fleet,
          input => fleet.mill.run(noop, input),
        )
      },
      async () => {
        const raw = await RawLatency.open()
        return latencySide('raw', rawLatencyHow, calls, raw, input => raw.run(input))
      },
      async () => {
        const bull = await BullMq.open(1)
        return latencySide('BullMQ', `queue.add, then as: ${bullHow}`, calls, bull, input => bull.run(input))
      },
    ]
    const sides = await withSides(openers, sides => alternate(sides, rounds))
    const ours = medianOf(sides, 'Millrace')
    return {
      title: 'one run() at a time, p50 latency, idle worker',
      unit: 'ms',
      sides,
      verdicts: [
        atMost('× raw', ours / medianOf(sides, 'raw'), 1.3),
        atMost('× BullMQ', ours / medianOf(sides, 'BullMQ'), 0.5),
      ],
      notes: [`the median of ${calls} calls is one sample`],
    }
  },
}

function latencySide(
  name: string,
  how: string,
  calls: number,
  owner: { close(): Promise<void> },
  run: (input: number) => Promise<unknown>,
): Side {
  return {
    name,
    how,
    async round() {
      const milliseconds: number[] = []
      for (let input = 0; input < calls; input++) {
        const started = performance.now()
        const result = await run(input)
        milliseconds.push(performance.now() - started)
        checkValue(name, result, input)
      }
      return quantile(milliseconds, 0.5)
    },
    close: () => owner.close(),
  }
}
