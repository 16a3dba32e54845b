import { afterEach, expect, test } from 'vitest'
import { redisTarget } from '../../src/store/target.ts'
import { Lanes } from '../../src/store/lanes.ts'
import { Board } from '../../src/worker/board.ts'
import { ClaimIds } from '../../src/worker/claim-ids.ts'
import { Feed } from '../../src/worker/feed.ts'
import type { FromThread } from '../../src/worker/messages.ts'
import { SuspectGate } from '../../src/worker/suspect-gate.ts'
import { until } from '../support/until.ts'
import { chunkOf, hash, useRedis } from '../store/support/lane.ts'
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

/** A thread that was handed a chunk while it waited, and so is counted among those that wait still. */
async function notedThread(lane: TestLane) {
  const made = await thread(lane)
  const waiting = made.feed.claimWaiting(0, Promise.resolve(true))
  await until(async () => (await lane.client.zcard(lane.codeKeys().waiting)) === 1, { what: 'it waits' })
  const job = await lane.job(2, { complete: false, per: 1 })
  const batch = await waiting
  expect(batch).toMatchObject({ awaited: true, tasks: 1 })
  return { ...made, job, batch: batch! }
}
const unanswered = new Promise<boolean>(() => undefined)

test('a thread that is counted among those that wait does not ask, nor wait for the answer to its commit', async () => {
  const lane = redis.lane()
  const { feed, ids, job } = await notedThread(lane)
  // The other task of the job stands in line, where only who asks would find it.
  expect(ids.isNoted(0)).toBe(true)
  const waiting = feed.claimWaiting(1, unanswered)
  await lane.client.lpush(lane.codeKeys().stage, chunkOf(job, { first: 7 }))
  expect((await waiting)?.chunks.map(({ header }) => header.first)).toEqual([7])
})

test('where something was in line, its wait is broken off, and then it asks', async () => {
  const lane = redis.lane()
  const { feed, ids, batch } = await notedThread(lane)
  expect(await feed.claimWaiting(1, Promise.resolve(true))).toBeUndefined()
  ids.release(batch.claim)
  expect((await feed.claimWaiting(1, unanswered))?.chunks.map(({ header }) => header.first)).toEqual([1])
  // What it was given came with the claim by which it was counted.
  expect(ids.isNoted(0)).toBe(false)
  expect(await lane.client.zcard(lane.codeKeys().waiting)).toBe(0)
})

test('it asks again when the claim by which it was counted is left to others, or its registration is another', async () => {
  const first = await notedThread(redis.lane())
  first.ids.abandon(first.batch.claim, false)
  expect(first.ids.isNoted(0)).toBe(false)
  const second = await notedThread(redis.lane())
  second.ids.register('anew', 0)
  expect(second.ids.isNoted(0)).toBe(false)
})
