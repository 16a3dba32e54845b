import { startRedisCluster } from '../../test/support/redis-cluster.ts'
import type { RedisCluster } from '../../test/support/redis-cluster.ts'
import { alternate, withSides } from '../core/alternate.ts'
import type { Side } from '../core/alternate.ts'
import { checkResults } from '../core/check.ts'
import { connect } from '../core/millrace.ts'
import { preciseCpuSeconds } from '../core/process-cost.ts'
import { numbers } from '../core/rate-side.ts'
import { quantile } from '../core/stats.ts'
import { startWorkerProcess, tasks } from '../sides/millrace.ts'
import { noop } from '../work/tasks.ts'
import { threads } from './row.ts'
import type { Row } from './row.ts'

const jobs = 12

/** Several jobs at once on a Cluster: a job lives on one lane, so that it is jobs which spread over the masters. */
export const row: Row = {
  async run({ rounds, quick }) {
    const inputs = numbers(quick ? 2000 : 50_000)
    const shares = new Map<number, number[]>()
    const openers = [1, 3].map(masters => async () => {
      const found: number[] = []
      shares.set(masters, found)
      return openSide(masters, inputs, found)
    })
    const sides = await withSides(openers, sides => alternate(sides, Math.min(rounds, 3)))
    return {
      title: `${jobs} jobs of ${inputs.length} no-op tasks at once on a loopback Cluster`,
      unit: 'tasks/s',
      sides,
      verdicts: [],
      notes: [
        'masters, driver and worker share the two cores, so more lanes can’t make this faster here; what is looked at is how the load of Redis spreads',
        ...[...shares].map(([masters, found]) => describeShare(masters, found)),
        'a job’s lane comes from its id, so that a few jobs spread unevenly',
      ],
    }
  },
}

async function openSide(masters: number, inputs: readonly number[], shares: number[]): Promise<Side> {
  const cluster = await startRedisCluster({ masters, redis: { appendonly: 'everysec' } })
  await cluster.whenInOrder()
  const worker = startWorkerProcess(cluster.url, threads)
  await worker.waitForLine(/^ready: /, 60_000)
  const mill = await connect({ redis: cluster.url, tasks })
  return {
    name: `${masters} lane${masters === 1 ? '' : 's'}`,
    how: `${masters} master${masters === 1 ? '' : 's'}; ${jobs} × map(noop, inputs).results() awaited together; one worker process with ${threads} threads`,
    async round() {
      const before = cpuOf(cluster)
      const started = performance.now()
      const all = await Promise.all(Array.from({ length: jobs }, () => mill.map(noop, inputs).results()))
      const seconds = (performance.now() - started) / 1000
      const used = cpuOf(cluster).map((after, at) => after - before[at]!)
      shares.push(Math.max(...used) / used.reduce((sum, each) => sum + each, 0))
      for (const results of all) checkResults('Millrace', results, inputs.length, index => inputs[index]!)
      return (jobs * inputs.length) / seconds
    },
    async close() {
      await mill.close()
      worker.kill('SIGTERM')
      await worker.exited
      await cluster.stop()
    },
  }
}

function describeShare(masters: number, shares: readonly number[]): string {
  const percent = Math.round(quantile(shares, 0.5) * 100)
  return `${masters} master(s): the busiest had ${percent} % of Redis’s CPU time (median)`
}

function cpuOf({ masters }: RedisCluster): number[] {
  return masters.map(({ pid }) => preciseCpuSeconds(pid))
}
