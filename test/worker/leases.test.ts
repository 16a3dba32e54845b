import { afterAll, beforeAll, expect, it } from 'vitest'
import { compiled, runCli } from '../cli/support/cli.ts'
import type { RedisProcess } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { Lab, startLabRedis } from './support/lab.ts'
import { linesOf, recordFile } from './support/record-file.ts'

let redis: RedisProcess

beforeAll(async () => {
  await compiled()
  redis = await startLabRedis({ port: true })
})

afterAll(async () => {
  await redis.stop()
})

const claimed = async ({ client, namespace }: Lab) => (await client.keys(`*${namespace}*:claim:*`)).length

it('a task that burns a whole core for ten leases costs its worker none, and runs once', async () => {
  await using lab = new Lab(redis)
  const leaseMs = 1000
  const busy = await lab.startWorker({ threads: 2, leaseMs })
  // Idle, with a reaper, and there to take what would be given up.
  await lab.startWorker({ threads: 1, leaseMs })
  const file = await recordFile()
  const inputs = [1, 2, 3].map(x => ({ file, ms: 10 * leaseMs, x }))
  expect(await lab.values(await lab.submit('recorded', inputs, { packs: 3 }), 60_000)).toEqual([1, 2, 3])
  expect((await linesOf(file)).sort()).toEqual(['1', '2', '3'])
  for (const worker of lab.workers) expect(worker.stderr.filter(line => /does not know|is gone/.test(line))).toEqual([])
  expect(await lab.client.zscore(lab.store.keys.workers, busy.id)).not.toBeNull()
})

it('the work of a killed worker runs elsewhere within ten seconds, with the default lease', async () => {
  await using lab = new Lab(redis)
  const victim = await lab.startWorker({ threads: 1, leaseMs: undefined })
  // The other one has been there for a while, as in a fleet: its reaper has run for longer than a lease.
  const other = await lab.startWorker({ threads: 1, leaseMs: undefined })
  await until(
    async () => {
      const [since, at] = await lab.client.hmget(lab.store.keys.lane, 'reapingSince', 'reapedAt')
      return Number(at) - Number(since) > 6000
    },
    { what: 'a reaper has run for a lease' },
  )
  other.kill('SIGSTOP')
  const file = await recordFile()
  const job = await lab.submit('recorded', [{ file, ms: 60_000, x: 1 }])
  await until(async () => (await linesOf(file)).length === 1, { what: 'the first worker runs it' })
  other.kill('SIGCONT')
  const killedAt = performance.now()
  victim.kill('SIGKILL')
  await until(async () => (await linesOf(file)).length === 2, { what: 'the other worker runs it' })
  const seconds = (performance.now() - killedAt) / 1000
  console.log(`a killed worker's task ran elsewhere after ${seconds.toFixed(1)} s`)
  expect(seconds).toBeLessThan(10)
  await lab.store.parts.drop({ ...job, hash: other.hash, collector: '' })
})

it('`millrace jobs ID --cancel` stops work that burns a core within a second', async () => {
  await using lab = new Lab(redis)
  await lab.startWorker({ threads: 2 })
  const job = await lab.submit('spins', [60_000, 60_000], { packs: 2 })
  await until(async () => (await claimed(lab)) === 2, { what: 'both threads run it' })
  const cancelled = await runCli(['jobs', job.job, '--cancel', '--redis', redis.url, '--namespace', lab.namespace])
  const started = performance.now()
  expect(cancelled).toMatchObject({ code: 0, stdout: `Cancelled ${job.job}.` })
  await until(async () => (await claimed(lab)) === 0, { what: 'nothing is claimed any more' })
  expect(performance.now() - started).toBeLessThan(30_000)
  expect(await lab.values(await lab.submit('square', 3))).toEqual([0, 1, 4])
})
