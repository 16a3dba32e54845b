import { randomBytes } from 'node:crypto'
import { alternate, withSides } from '../core/alternate.ts'
import type { Side } from '../core/alternate.ts'
import { WrongResultError } from '../core/check.ts'
import { preciseCpuSeconds } from '../core/process-cost.ts'
import { atLeast, medianOf } from '../core/report.ts'
import { startServer } from '../core/redis-server.ts'
import { quantile } from '../core/stats.ts'
import { openFleet } from '../sides/millrace.ts'
import { echo } from '../work/tasks.ts'
import { threads } from './row.ts'
import type { Row } from './row.ts'

const megabyte = 2 ** 20

/** Large inputs and results: how much of Redis's own speed is left. */
export const row: Row = {
  async run({ rounds, quick }) {
    const costs = new Map<string, number[]>()
    const payloads = Array.from({ length: quick ? 16 : 64 }, () => randomBytes(megabyte))
    const openers = [
      async () => {
        const fleet = await openFleet(threads)
        const how = 'map(echo, payloads).results(), 2 threads'
        const places = { driver: process.pid, Redis: fleet.server.pid, worker: fleet.workerPids[0] ?? 0 }
        return byteSide(
          'Millrace',
          how,
          payloads,
          () => noteCpu(costs, 'Millrace', places, payloads.length, () => fleet.mill.map(echo, payloads).results()),
          () => fleet.close(),
        )
      },
      async () => {
        const server = await startServer()
        const client = server.connect()
        const throughRedis = async (values: readonly Buffer[]) => {
          await Promise.all(values.map((value, at) => client.set(`payload:${at}`, value)))
          const read = await Promise.all(values.map((_, at) => client.getBuffer(`payload:${at}`)))
          return read.map(value => value ?? Buffer.alloc(0))
        }
        const how =
          'SET and GET of every payload, then SET and GET of what came back: in and out as for a task, pipelined, one process'
        return byteSide(
          'raw SET/GET',
          how,
          payloads,
          () =>
            noteCpu(costs, 'raw', { client: process.pid, Redis: server.pid }, payloads.length, async () =>
              throughRedis(await throughRedis(payloads)),
            ),
          async () => {
            client.disconnect()
            await server.stop()
          },
        )
      },
    ]
    const sides = await withSides(openers, sides => alternate(sides, rounds))
    return {
      title: `${payloads.length} payloads of 1 MB in and out`,
      unit: 'MB/s',
      sides,
      verdicts: [atLeast('of raw', medianOf(sides, 'Millrace') / medianOf(sides, 'raw SET/GET'), 0.6)],
      notes: [
        'MB/s counts each payload once in and once out, for both sides; either side sends Redis 2 MB for each and is sent 2 MB: in by the driver and out to the worker, in by the worker and out to the driver',
        'raw has all payloads under way at once, as our window of 64 MB has; it has one process, and no copy is made for a codec, a script, a fence or a second owner',
      ],
      numbers: Object.fromEntries([...costs].map(([place, all]) => [`CPU ms/MB, ${place}`, quantile(all, 0.5)])),
    }
  },
}

/** How much CPU time a payload takes at each place. */
async function noteCpu<T>(
  costs: Map<string, number[]>,
  side: string,
  places: Readonly<Record<string, number>>,
  payloads: number,
  run: () => Promise<T>,
): Promise<T> {
  const before = Object.values(places).map(preciseCpuSeconds)
  const result = await run()
  for (const [at, [place, pid]] of Object.entries(places).entries()) {
    const key = `${side}: ${place}`
    const milliseconds = ((preciseCpuSeconds(pid) - before[at]!) * 1000) / payloads
    costs.set(key, [...(costs.get(key) ?? []), milliseconds])
  }
  return result
}

function byteSide(
  name: string,
  how: string,
  payloads: readonly Buffer[],
  map: () => Promise<readonly Uint8Array[]>,
  close: () => Promise<void>,
): Side {
  return {
    name,
    how,
    async round() {
      const started = performance.now()
      const results = await map()
      const seconds = (performance.now() - started) / 1000
      for (const [at, payload] of payloads.entries()) {
        const result = results[at]
        if (result === undefined || !payload.equals(result))
          throw new WrongResultError(`${name}: payload ${at} differs.`)
      }
      return (2 * payloads.length * megabyte) / 1e6 / seconds
    },
    close,
  }
}
