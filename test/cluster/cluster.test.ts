import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Cluster } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { range, UsageError } from '../../src/index.ts'
import type { Mill } from '../../src/index.ts'
import { laneTag, partKeys } from '../../src/protocol/keys.ts'
import { Lanes } from '../../src/store/lanes.ts'
import { redisTarget } from '../../src/store/target.ts'
import { compiled, runCli, startCli } from '../cli/support/cli.ts'
import { tasksFile } from '../driver/support/bench.ts'
import { add, note, same, set, square, wait } from '../driver/support/tasks.ts'
import { startRedisCluster } from '../support/redis-cluster.ts'
import type { RedisCluster } from '../support/redis-cluster.ts'
import { until } from '../support/until.ts'
import { Fleet, idOnLane, numbers } from './support/bench.ts'

let cluster: RedisCluster
let fleet: Fleet
let mill: Mill
let lanes: Lanes
const folder = mkdtempSync(join(tmpdir(), 'millrace-cluster-'))

beforeAll(compiled, 120_000)
beforeAll(async () => {
  cluster = await startRedisCluster()
  fleet = new Fleet(cluster.url)
  const [connected] = await Promise.all([fleet.connect(), fleet.startWorker(1), fleet.startWorker(1)])
  mill = connected
  lanes = new Lanes({
    target: redisTarget(cluster.url),
    namespace: 'millrace',
    queue: 'default',
    role: { name: 'test', silenceMs: 10_000 },
    onOpen: client => client.on('error', () => undefined),
  })
  await lanes.start(10_000)
})
afterEach(async () => {
  for (const lane of lanes.all) expect(await lane.client.llen(lane.keys.malformed)).toBe(0)
})
afterAll(async () => {
  lanes.disconnect()
  await fleet[Symbol.asyncDispose]()
  await cluster.stop()
  rmSync(folder, { recursive: true })
})

const masterOfLane = (lane: number) => cluster.masterOf(laneTag({ namespace: 'millrace', queue: 'default', lane }))

describe('a queue in a Cluster', () => {
  test('has one lane on each master, which every lane knows', async () => {
    expect(lanes.numbers).toHaveLength(3)
    expect(lanes.numbers[0]).toBe(0)
    const masters = await Promise.all(lanes.numbers.map(masterOfLane))
    expect(new Set(masters).size).toBe(3)
    for (const lane of lanes.all) expect(await lane.readLanes()).toEqual(lanes.numbers)
  })

  test('map, streaming, reduce and submit give what they give on one server', async () => {
    const xs = numbers(2000)
    expect(await mill.map(square, xs).results()).toEqual(xs.map(x => x * x))
    expect(await mill.map(same, range(100_000)).reduce(add, 0)).toBe(4_999_950_000)
    const seen: number[] = []
    for await (const y of mill.map(same, range(5000))) seen.push(y)
    expect(seen).toEqual(numbers(5000))
    const burst = numbers(500).map(x => mill.submit(square, x).result())
    expect(await Promise.all(burst)).toEqual(numbers(500).map(x => x * x))
  })

  test('spreads jobs over all lanes, and each is found from its id', async () => {
    const ids = lanes.numbers.map(lane => idOnLane(lane, lanes.numbers, 'spread'))
    for (const id of ids) await mill.map(square, numbers(50), { id, detached: true }).submitted()
    for (const [index, id] of ids.entries()) {
      for (const lane of lanes.all)
        expect(await lane.parts.hasPart(id), `${id} on lane ${lane.lane.lane}`).toBe(
          lane.lane.lane === lanes.numbers[index],
        )
      const listed = JSON.parse((await runCli(['jobs', id, '--redis', cluster.url, '--json'])).stdout) as { id: string }
      expect(listed.id).toBe(id)
    }
    const all = JSON.parse((await runCli(['jobs', '--redis', cluster.url, '--json'])).stdout) as {
      jobs: { id: string }[]
    }
    expect(all.jobs.map(job => job.id)).toEqual(expect.arrayContaining(ids))
    for (const id of ids) expect(await (await mill.attach(id, square)).results()).toHaveLength(50)
  })

  test('a job that began when the list was shorter is found all the same', async () => {
    const [first, second] = lanes.all
    const id = idOnLane(second!.lane.lane, lanes.numbers, 'early')
    await mill.map(wait, [{ ms: 1, value: 7 }], { id, detached: true }).submitted()
    await until(async () => (await second!.parts.readCounters(id))?.settled === 1, { what: 'it is settled' })
    // As it would be if its driver had known of lane 0 alone.
    const [before, after] = [second!, first!].map(({ lane }) => partKeys(lane, id))
    for (const key of ['part', 'results'] as const) {
      await first!.client.restore(after![key], 0, await second!.client.dumpBuffer(before![key]))
      await second!.client.del(before![key])
    }
    expect(await (await mill.attach(id, wait)).results()).toEqual([7])
  })

  test('a thread that waits on one lane is sent to work on another', async () => {
    const unblocked = async () => {
      const stats = await Promise.all(cluster.masters.map(master => master.cli('INFO', 'commandstats')))
      return stats.reduce((sum, text) => sum + Number(/cmdstat_client\|unblock:calls=(\d+)/.exec(text)?.[1] ?? 0), 0)
    }
    const before = await unblocked()
    // Two threads for three lanes: on one of them nobody waits.
    for (const round of [0, 1, 2]) {
      for (const lane of lanes.numbers) {
        const id = idOnLane(lane, lanes.numbers, `round-${round}`)
        expect(await mill.run(square, lane, { id })).toBe(lane * lane)
      }
    }
    expect(await unblocked()).toBeGreaterThan(before)
  })

  test('broadcast reaches every thread once', async () => {
    const answers = await mill.broadcast(set, 'one')
    expect(answers).toHaveLength(2)
    expect(answers.map(answer => 'value' in answer && answer.value)).toEqual(['unset', 'unset'])
  })

  test('workers, durability, snapshot and doctor are of all masters', async () => {
    expect(await mill.workers()).toHaveLength(2)
    expect((await mill.durability()).summary).toMatch(/append-only file is off/)
    const { servers } = await mill.snapshot()
    expect(servers.map(({ file }) => file).sort()).toEqual(
      cluster.masters.map(({ dir }) => join(dir, 'dump.rdb')).sort(),
    )
    const { stdout, code } = await runCli(['doctor', '--redis', cluster.url, '--json'])
    expect(code).toBe(0)
    const { checks } = JSON.parse(stdout) as { checks: { name: string; status: string }[] }
    for (const { port } of cluster.masters)
      expect(checks.map(({ name }) => name)).toContain(`reachable (127.0.0.1:${String(port)})`)
    for (const lane of lanes.numbers)
      expect(checks).toContainEqual(expect.objectContaining({ name: `workers (lane ${lane})`, status: 'ok' }))
    expect((await runCli(['snapshot', '--redis', cluster.url])).stdout.match(/dump\.rdb/g)).toHaveLength(3)
  })

  test('the snapshot names the master that made none', async () => {
    const [broken] = cluster.masters
    // A folder of that name can't be replaced by a file.
    const file = join(broken!.dir, 'dump.rdb')
    rmSync(file, { force: true })
    mkdirSync(join(file, 'inside'), { recursive: true })
    await expect(mill.snapshot()).rejects.toThrow(
      new RegExp(`1 of the Cluster's 3 masters.*127.0.0.1:${String(broken!.port)}`),
    )
    rmSync(file, { recursive: true })
    await mill.snapshot()
  })
})

describe('what goes wrong', () => {
  test.each([0, 1, 2])('FLUSHALL on the master of lane number %i loses nothing, and the list comes back', async at => {
    const lane = lanes.numbers[at]!
    const id = idOnLane(lane, lanes.numbers, 'flushed')
    const inputs = numbers(200).map(value => ({ ms: 5, value }))
    const job = mill.map(wait, inputs, { id })
    const results = job.results()
    await until(async () => (await job.progress()).done >= 30, { what: 'some are done' })
    await (await masterOfLane(lane)).cli('FLUSHALL')
    expect(await results).toEqual(numbers(200))
    await until(async () => (await lanes.of(lane).readLanes()).length === 3, { what: 'the lane knows the list again' })
    expect(await mill.workers()).toHaveLength(2)
  })

  test('while a master is away the lanes of others go on, and its own when it is back, with or without its data', async () => {
    for (const master of cluster.masters) await master.cli('CONFIG', 'SET', 'cluster-require-full-coverage', 'no')
    const [here = 0, away = 0] = lanes.numbers
    const gone = await masterOfLane(away)
    const inputs = numbers(200).map(value => ({ ms: 5, value }))
    const job = mill.map(wait, inputs, { id: idOnLane(away, lanes.numbers, 'away') })
    const results = job.results()
    await until(async () => (await job.progress()).done >= 30, { what: 'some are done' })
    await gone.kill()
    for (const name of ['a', 'b', 'c'])
      expect(await mill.map(square, numbers(100), { id: idOnLane(here, lanes.numbers, name) }).results()).toHaveLength(
        100,
      )
    await gone.restart()
    expect(await results).toEqual(numbers(200))
    await until(async () => (await lanes.of(away).client.zcard(lanes.of(away).keys.workers)) === 2, {
      what: 'the workers are registered there again',
    })
  })

  test('attach goes on after the driver was killed', async () => {
    for (const lane of lanes.numbers) {
      const id = idOnLane(lane, lanes.numbers, 'orphan')
      const driver = fleet.startDriver('reduce', id)
      await driver.waitForLine(/collected [1-9]/)
      driver.kill()
      await driver.exited
      expect(await (await mill.attach(id, same)).reduce(add, 5)).toBe(499_999_500_005)
    }
  })

  test('what a killed worker held runs elsewhere', async () => {
    const file = join(folder, 'notes')
    appendFileSync(file, '')
    const doomed = await fleet.startWorker(3)
    const lines = numbers(24).map(String)
    const jobs = lanes.numbers.map(lane =>
      mill.map(
        note,
        lines.map(line => ({ file, line: `${lane}-${line}`, ms: 100 })),
        {
          id: idOnLane(lane, lanes.numbers, 'killed'),
        },
      ),
    )
    const results = Promise.all(jobs.map(job => job.results()))
    await until(() => readFileSync(file, 'utf8').split('\n').length > 12, { what: 'some have run' })
    doomed.kill()
    expect(await results).toEqual(lanes.numbers.map(lane => lines.map(line => `${lane}-${line}`)))
    await until(async () => (await mill.workers()).length === 2, { what: 'the dead worker is off the list' })
  })
})

describe('how a Cluster is named', () => {
  test('by an instance, whose nodes are learned from it', async () => {
    const [{ port = 0 } = {}] = cluster.masters
    // Its own settings are not for our connections.
    const redisOptions = { enableOfflineQueue: false, stringNumbers: true }
    const instance = new Cluster([{ host: '127.0.0.1', port }], { redisOptions })
    const other = await fleet.connect({ redis: instance, threads: 1 })
    expect(await other.run(square, 9)).toBe(81)
    await other.close()
    instance.disconnect()
  })

  test('by some of its nodes', async () => {
    const [{ port = 0 } = {}] = cluster.masters
    const other = await fleet.connect({ redis: { cluster: [{ host: '127.0.0.1', port }] } })
    expect(await other.run(square, 9)).toBe(81)
    await other.close()
  })

  test('one of its nodes alone is refused, with the cure', async () => {
    const refusal = fleet.connect({ redis: cluster.masters[0]!.url })
    await expect(refusal).rejects.toThrow(UsageError)
    await expect(refusal).rejects.toThrow(/node of a Redis Cluster.*\?cluster/)
  })
})

test('a lane that somebody adds to the list is served', async () => {
  const added = 17
  expect(lanes.numbers).not.toContain(added)
  lanes.adopt([added])
  await lanes.reach(5000)
  await lanes.agree()
  const lane = lanes.of(added)
  await until(async () => (await lane.client.zcard(lane.keys.workers)) === 2, { what: 'the workers are on it' })
  // The driver learns of it as well, and uses it for new jobs.
  const id = idOnLane(added, lanes.numbers, 'added')
  let round = 0
  await until(
    async () => {
      const job = mill.map(square, [3], { id: idOnLane(added, lanes.numbers, `added-${round++}`), detached: true })
      await job.submitted()
      return (await lanes.find(job.id)) === lane && (await lane.parts.hasPart(job.id))
    },
    { what: 'the driver puts a job there', everyMs: 200 },
  )
  expect(await mill.run(square, 12, { id })).toBe(144)
})

describe('plain-Redis mode', () => {
  const flags = (list: string, results: string) => [
    'worker',
    tasksFile,
    '--threads',
    '1',
    '--redis',
    cluster.url,
    '--plain-task',
    'echo',
    '--plain-list',
    list,
    '--plain-results',
    results,
  ]

  test('refuses names in different slots', async () => {
    const { code, stderr } = await runCli(flags('queue', 'results'))
    expect(code).toBe(2)
    expect(stderr).toMatch(/different slots.*\{/)
  })

  test('works with names that share a tag', async () => {
    const worker = startCli(flags('{jobs}:queue', '{jobs}:results'))
    await worker.waitForLine(/^ready/)
    const master = await cluster.masterOf('{jobs}:queue')
    await master.cli('LPUSH', '{jobs}:queue', 'hello')
    await until(async () => (await master.cli('HGET', '{jobs}:results', 'hello')) === 'hello', {
      what: 'it is answered',
    })
    worker.kill('SIGTERM')
    expect((await worker.exited).code).toBe(0)
  })
})
