import { afterEach, expect, test } from 'vitest'
import { redisTarget } from '../../src/store/target.ts'
import { Lanes } from '../../src/store/lanes.ts'
import { Board } from '../../src/worker/board.ts'
import { ClaimIds } from '../../src/worker/claim-ids.ts'
import { Feed } from '../../src/worker/feed.ts'
import type { FromThread } from '../../src/worker/messages.ts'
import { SuspectGate } from '../../src/worker/suspect-gate.ts'
import { hash, useRedis } from '../store/support/lane.ts'
import type { TestLane } from '../store/support/lane.ts'

const redis = useRedis()
const opened: Lanes[] = []

afterEach(async () => {
  for (const lanes of opened.splice(0)) lanes.disconnect()
  await redis.process.cli('CONFIG', 'SET', 'min-replicas-to-write', '0')
  await redis.process.cli('CONFIG', 'SET', 'maxmemory', '0')
})

/** What a thread claims with, registered as the worker `w`, and what it tells its main thread. */
async function thread(lane: TestLane) {
  await lane.join('w', [])
  const { namespace, queue } = lane.lane
  const open = (name: string) => {
    const onOpen = (client: { on(event: 'error', listener: () => void): unknown }) => {
      client.on('error', () => undefined)
    }
    const lanes = new Lanes({
      target: redisTarget(redis.process.url),
      namespace,
      queue,
      role: { name, silenceMs: 8000 },
      onOpen,
    })
    opened.push(lanes)
    return lanes
  }
  const said: FromThread[] = []
  const lanes = open('thread')
  const ids = new ClaimIds(lanes, message => said.push(message))
  ids.register('w', 0)
  const warnings: string[] = []
  const feed = new Feed({
    hash,
    thread: 0,
    suspects: new SuspectGate(),
    board: new Board(),
    ids,
    lanes,
    waits: open('waits'),
    blockMs: 1000,
    onFound: () => undefined,
    warn: line => warnings.push(line),
  })
  return { feed, ids, said, warnings }
}

test('a claim that Redis refuses to enroll is enrolled the next time', async () => {
  const lane = redis.lane()
  const { ids, said } = await thread(lane)
  await redis.process.cli('CONFIG', 'SET', 'min-replicas-to-write', '1')
  for (let i = 0; i < 5; i++) await expect(ids.take(0)).rejects.toThrow(/NOREPLICAS/)
  await redis.process.cli('CONFIG', 'SET', 'min-replicas-to-write', '0')
  const claim = await ids.take(0)
  expect(said).toEqual([{ type: 'claim', id: claim?.id, lane: 0 }])
  expect(await lane.members.claimsOf('w')).toEqual([claim?.id])
})

test('one that Redis refused belongs to its registration', async () => {
  const { ids, said } = await thread(redis.lane())
  await redis.process.cli('CONFIG', 'SET', 'min-replicas-to-write', '1')
  await expect(ids.take(0)).rejects.toThrow(/NOREPLICAS/)
  ids.register('anew', 0)
  await redis.process.cli('CONFIG', 'SET', 'min-replicas-to-write', '0')
  expect(await ids.take(0)).toBeUndefined()
  expect(said.map(({ type }) => type)).toEqual(['claim', 'abandon', 'claim', 'abandon', 'unknown'])
})

test('a thread that may not block at the memory limit uses its claim again', async () => {
  const { feed, said, warnings } = await thread(redis.lane())
  await redis.process.cli('CONFIG', 'SET', 'maxmemory', '1')
  for (let i = 0; i < 5; i++) expect(await feed.claimWaiting(0, Promise.resolve(true))).toBeUndefined()
  expect(warnings).toHaveLength(5)
  expect(said.map(({ type }) => type)).toEqual(['claim'])
})
