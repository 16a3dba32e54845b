import fc from 'fast-check'
import { afterEach, expect, test } from 'vitest'
import { randomName } from '../../src/protocol/names.ts'
import { Lanes } from '../../src/store/lanes.ts'
import { redisTarget } from '../../src/store/target.ts'
import { UsageError } from '../../src/errors.ts'
import { startRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { useRedis } from './support/lane.ts'

const redis = useRedis()
const opened: Lanes[] = []
afterEach(() => {
  for (const lanes of opened.splice(0)) lanes.disconnect()
})

function lanesOf(namespace: string, known?: readonly number[], url = redis.process.url): Lanes {
  const lanes = new Lanes(
    {
      target: redisTarget(url),
      namespace,
      queue: 'default',
      role: { name: 'test', silenceMs: 10_000 },
      onOpen: client => client.on('error', () => undefined),
    },
    known,
  )
  opened.push(lanes)
  return lanes
}

test('a single server has lane 0 alone, and nothing is written for it', async () => {
  const lanes = lanesOf(randomName(4))
  await lanes.start(5000)
  expect(lanes.numbers).toEqual([0])
  expect(await lanes.first.client.exists(lanes.first.keys.lane)).toBe(0)
})

test('a single server with the data of a Cluster has its lanes', async () => {
  const namespace = randomName(4)
  const before = lanesOf(namespace, [0, 1, 4])
  await before.reach(5000)
  await before.agree()
  const after = lanesOf(namespace)
  await after.start(5000)
  expect(after.numbers).toEqual([0, 1, 4])
})

test('those that know different lists agree on all lanes of either, in whatever order they come', async () => {
  const namespace = randomName(4)
  const all = [
    [0, 1, 4],
    [0, 2],
    [0, 1],
  ].map(known => lanesOf(namespace, known))
  for (const lanes of all) await lanes.reach(5000)
  for (let round = 0; round < 3; round++) for (const lanes of [...all].reverse()) await lanes.agree()
  for (const lanes of all) expect(lanes.numbers).toEqual([0, 1, 2, 4])
  for (const lane of all[0]!.all) expect(await lane.readLanes()).toEqual([0, 1, 2, 4])
})

test('a list that Redis lost comes back from whoever knows it', async () => {
  const lanes = lanesOf(randomName(4), [0, 3])
  await lanes.reach(5000)
  await lanes.agree()
  for (const lane of lanes.all) await lane.client.del(lane.keys.lane)
  await lanes.agree()
  for (const lane of lanes.all) expect(await lane.readLanes()).toEqual([0, 3])
})

test('a job is found on the lane that has it, else where it would go', async () => {
  const lanes = lanesOf(randomName(4), [0, 1, 4])
  for (const id of ['a', 'b', 'c', 'd']) {
    const home = lanes.forNewJob(id)
    expect(await lanes.find(id)).toBe(home)
    const [elsewhere] = lanes.all.filter(lane => lane !== home)
    await elsewhere!.client.hset(`${elsewhere!.keys.lane.replace(/:lane$/, '')}:part:${id}`, 'task', 'square')
    expect(await lanes.find(id)).toBe(elsewhere)
  }
})

test('any bytes where the list stands are safe to read and to add to', async () => {
  const { first } = lanesOf(randomName(4))
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 2000 }), async bytes => {
      await first.client.hset(first.keys.lane, 'lanes', Buffer.from(bytes))
      const agreed = await first.agreeLanes([0, 7])
      expect(agreed.length).toBeLessThanOrEqual(64)
      expect(await first.readLanes()).toEqual(agreed)
    }),
    { numRuns: 300 },
  )
})

test.each([
  ['has all slots', ['CLUSTER', 'ADDSLOTSRANGE', '0', '16383']],
  ['has none', ['PING']],
])('a node of a Cluster that %s is refused as the one server, with its URL', async (_, command) => {
  await using node = await startRedis({ port: true, config: { 'cluster-enabled': 'yes' } })
  await node.cli(...command)
  await until(async () => (await node.cli('CLUSTER', 'INFO')).includes('cluster_state:ok') === command.length > 1, {
    what: 'it says so',
  })
  const lanes = lanesOf('millrace', [0], node.url)
  const refusal = lanes.learn(5000)
  await expect(refusal).rejects.toThrow(UsageError)
  await expect(refusal).rejects.toThrow(`redis://127.0.0.1:${node.port}?cluster`)
})
