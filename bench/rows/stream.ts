import { checkValue } from '../core/check.ts'
import { residentBytes } from '../core/process-cost.ts'
import { atMost, measured } from '../core/report.ts'
import { numberIn } from '../core/redis-server.ts'
import { millraceHow, openFleet } from '../sides/millrace.ts'
import { noop } from '../work/tasks.ts'
import { threads } from './row.ts'
import type { Row } from './row.ts'

const sampleEveryMs = 100

/** Many more tasks than fit into memory, through one job. */
export const row: Row = {
  async run({ quick }) {
    const count = quick ? 1_000_000 : 10_000_000
    const fleet = await openFleet(threads)
    const driver: number[] = []
    const redis: number[] = []
    const timer = setInterval(() => {
      driver.push(residentBytes(process.pid) / 1e6)
      fleet.server.client.info('memory').then(
        info => redis.push(numberIn(info, 'used_memory') / 1e6),
        () => undefined,
      )
    }, sampleEveryMs)
    const started = performance.now()
    let seen = 0
    try {
      for await (const result of fleet.mill.map(noop, upTo(count))) {
        checkValue('Millrace', result, seen)
        seen++
      }
      checkValue('Millrace', seen, count)
    } finally {
      clearInterval(timer)
      await fleet.close()
    }
    const seconds = (performance.now() - started) / 1000
    return {
      title: `${count / 1e6} M tasks streamed through one job`,
      unit: 'MB',
      sides: [
        measured(
          'driver RSS',
          `the driver’s resident memory; ${millraceHow(threads)}; inputs from a generator`,
          driver,
        ),
        measured('Redis', 'used_memory', redis),
      ],
      verdicts: [
        atMost('MB driver, most', Math.max(...driver), 250),
        atMost('MB Redis, most', Math.max(...redis), 256),
      ],
      notes: [
        `${Math.round(count / seconds)} tasks/s; sampled every ${sampleEveryMs} ms from the first submit to the last result`,
        `quarters of the time, most: driver ${quarters(driver)} MB, Redis ${quarters(redis)} MB`,
      ],
      numbers: { 'tasks/s': count / seconds },
    }
  },
}

function* upTo(count: number): Generator<number> {
  for (let input = 0; input < count; input++) yield input
}

/** Flat, or growing: the most of each quarter. */
function quarters(samples: readonly number[]): string {
  const size = Math.ceil(samples.length / 4)
  return [0, 1, 2, 3]
    .map(quarter => Math.round(Math.max(...samples.slice(quarter * size, (quarter + 1) * size))))
    .join(' / ')
}
