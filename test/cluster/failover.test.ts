import { afterAll, beforeAll, expect, test } from 'vitest'
import { range } from '../../src/index.ts'
import type { Mill } from '../../src/index.ts'
import { laneTag } from '../../src/protocol/keys.ts'
import { Lanes } from '../../src/store/lanes.ts'
import { redisTarget } from '../../src/store/target.ts'
import { add, same, square, wait } from '../driver/support/tasks.ts'
import { startRedisCluster } from '../support/redis-cluster.ts'
import type { RedisCluster } from '../support/redis-cluster.ts'
import type { RedisProcess } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { Endless, Fleet, idOnLane } from './support/bench.ts'

let cluster: RedisCluster
let fleet: Fleet
let mill: Mill
let lanes: readonly number[]

beforeAll(async () => {
  cluster = await startRedisCluster({ replicas: true })
  fleet = new Fleet(cluster.url)
  const [, connected] = await Promise.all([fleet.startWorker(2), fleet.connect()])
  mill = connected
  const known = new Lanes({
    target: redisTarget(cluster.url),
    namespace: 'millrace',
    queue: 'default',
    role: { name: 'test', silenceMs: 10_000 },
    onOpen: client => client.on('error', () => undefined),
  })
  await known.learn(10_000)
  lanes = known.numbers
  known.disconnect()
})
afterAll(async () => {
  await fleet[Symbol.asyncDispose]()
  await cluster.stop()
})

const tagOf = (lane: number) => laneTag({ namespace: 'millrace', queue: 'default', lane })

/**
 * Calls `change` while jobs are under way on every lane, and holds their results against what they must be. `advanced`
 * resolves when every one has got some way on.
 */
async function whileJobsRun(name: string, change: (advanced: () => Promise<void>) => Promise<unknown>): Promise<void> {
  const jobs = lanes.map(lane => {
    const endless = new Endless()
    const job = mill.map(wait, endless.inputs(), { id: idOnLane(lane, lanes, name) })
    const results = all(job)
    results.catch(() => undefined)
    return { job, results, endless }
  })
  const advanced = async () => {
    const from = await Promise.all(jobs.map(async ({ job }) => (await job.progress()).collected))
    for (const [index, { job }] of jobs.entries())
      await until(async () => (await job.progress()).collected > from[index]! + 20, { what: 'every job goes on' })
  }
  await advanced()
  await change(advanced)
  await advanced()
  for (const { endless } of jobs) endless.enough()
  for (const { results, endless } of jobs) expect(await results).toEqual(endless.expected)
}

async function all(results: AsyncIterable<number>): Promise<number[]> {
  const seen: number[] = []
  for await (const result of results) seen.push(result)
  return seen
}

test('jobs go on when a master is killed and its replica takes over', async () => {
  const [, lane = 0] = lanes
  const master = await cluster.masterOf(tagOf(lane))
  let sum: Promise<number> | undefined
  await whileJobsRun('killed', async () => {
    sum = mill.map(same, range(300_000), { id: idOnLane(lane, lanes, 'sum') }).reduce(add, 0)
    await master.kill()
    await until(async () => cluster.replicas.includes(await cluster.masterOf(tagOf(lane))), {
      what: 'the replica has taken over',
    })
  })
  expect(await sum).toBe(44_999_850_000)
  const another = await fleet.connect()
  expect(await another.run(square, 12, { id: idOnLane(lane, lanes, 'after') })).toBe(144)
  // The old master comes back as a replica.
  await master.restart()
  await until(async () => (await master.cli('INFO', 'replication')).includes('role:slave'), { what: 'it follows' })
  await cluster.whenInOrder()
})

test('connect waits until a master that was just killed has been replaced', async () => {
  const [, lane = 0] = lanes
  const master = await cluster.masterOf(tagOf(lane))
  await master.kill()
  const connected = await fleet.connect()
  expect(await connected.run(square, 12, { id: idOnLane(lane, lanes, 'at-once') })).toBe(144)
  await master.restart()
  await until(async () => (await master.cli('INFO', 'replication')).includes('role:slave'), { what: 'it follows' })
  await cluster.whenInOrder()
})

test('jobs go on when a master hands over to its replica', async () => {
  const master = await cluster.masterOf(tagOf(0))
  const replica = cluster.replicas[cluster.masters.indexOf(master)]!
  await whileJobsRun('handed-over', async () => {
    expect(await replica.cli('CLUSTER', 'FAILOVER')).toBe('OK')
    await until(async () => (await cluster.masterOf(tagOf(0))) === replica, { what: 'the replica has taken over' })
  })
})

test('nothing is lost when the replica that takes over lacks what its master acknowledged last', async () => {
  const lane = lanes.at(-1)!
  const master = await cluster.masterOf(tagOf(lane))
  const replica = cluster.replicas[cluster.masters.indexOf(master)]!
  const offset = async (server: RedisProcess, field: string) =>
    Number(new RegExp(`${field}:(\\d+)`).exec(await server.cli('INFO', 'replication'))?.[1])
  let acknowledged = 0
  await whileJobsRun('behind', async advanced => {
    await replica.kill('SIGSTOP')
    await master.cli('CLIENT', 'KILL', 'TYPE', 'replica')
    await advanced()
    acknowledged = await offset(master, 'master_repl_offset')
    await master.kill()
    await replica.kill('SIGCONT')
    await until(async () => (await cluster.masterOf(tagOf(lane))) === replica, { what: 'the replica has taken over' })
  })
  expect(await offset(replica, 'second_repl_offset')).toBeLessThan(acknowledged)
})

test('jobs go on when a lane is moved to another master', async () => {
  const lane = lanes.at(-1)!
  const to = await cluster.masterOf(tagOf(0))
  expect(await cluster.masterOf(tagOf(lane))).not.toBe(to)
  await whileJobsRun('moved', () => cluster.moveSlot(tagOf(lane), to))
  expect(await cluster.masterOf(tagOf(lane))).toBe(to)
})
