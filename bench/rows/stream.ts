import { checkValue } from '../core/check.ts'
import { residentBytes } from '../core/process-cost.ts'
import { atMost, measured } from '../core/report.ts'
import { numberIn } from '../core/redis-server.ts'
import { round } from '../core/table.ts'
import { millraceHow, openFleet } from '../sides/millrace.ts'
import { noop } from '../work/tasks.ts'
import { threads } from './row.ts'
import type { Row } from './row.ts'

const sampleEveryMs = 1000

/** What was in memory at one moment, in MB. */
interface Sample {
  readonly seconds: number
  readonly driver: number
  readonly redisUsed: number
  readonly redisResident: number
}

/** Many more tasks than fit into memory, through one job. */
export const row: Row = {
  async run({ quick }) {
    const count = quick ? 1_000_000 : 10_000_000
    const fleet = await openFleet(threads)
    const samples: Sample[] = []
    const started = performance.now()
    const look = async () => {
      const redisUsed = numberIn(await fleet.server.client.info('memory'), 'used_memory') / 1e6
      const redisResident = residentBytes(fleet.server.pid) / 1e6
      const seconds = (performance.now() - started) / 1000
      samples.push({ seconds, driver: residentBytes(process.pid) / 1e6, redisUsed, redisResident })
    }
    await look()
    const timer = setInterval(() => void look().catch(() => undefined), quick ? 100 : sampleEveryMs)
    let seen = 0
    let seconds: number
    try {
      for await (const result of fleet.mill.map(noop, upTo(count))) {
        checkValue('Millrace', result, seen)
        seen++
      }
      checkValue('Millrace', seen, count)
      seconds = (performance.now() - started) / 1000
      await look()
    } finally {
      clearInterval(timer)
      await fleet.close()
    }
    const of = (field: keyof Sample) => samples.map(sample => sample[field])
    const most = (field: keyof Sample) => Math.max(...of(field))
    return {
      title: `${count / 1e6} M tasks streamed through one job`,
      unit: 'MB',
      sides: [
        measured(
          'driver RSS',
          `the driver’s resident memory; ${millraceHow(threads)}; inputs from a generator, results by for await`,
          of('driver'),
        ),
        measured('Redis used_memory', 'by INFO', of('redisUsed')),
        measured('Redis RSS', 'the resident memory of redis-server', of('redisResident')),
      ],
      verdicts: [
        atMost('MB driver RSS, most', most('driver'), 250),
        atMost('MB Redis used_memory, most', most('redisUsed'), 256),
        atMost('MB Redis RSS, most', most('redisResident'), 256),
      ],
      notes: [
        `${describeRate(count / seconds)}; looked at before the first submit, every ${(quick ? 100 : sampleEveryMs) / 1000} s, and after the last result`,
        `flat or growing, look by look: driver ${listed(of('driver'))} MB; Redis used_memory ${listed(of('redisUsed'))} MB; Redis RSS ${listed(of('redisResident'))} MB`,
      ],
      numbers: { 'tasks/s': count / seconds },
    }
  },
}

function* upTo(count: number): Generator<number> {
  for (let input = 0; input < count; input++) yield input
}

function describeRate(perSecond: number): string {
  return `${round(perSecond)} tasks/s`
}

function listed(values: readonly number[]): string {
  return values.map(value => Math.round(value)).join(' ')
}
