import { describe, expect, test } from 'vitest'
import { payloadField } from '../../src/protocol/chunk.ts'
import { collectorChannel } from '../../src/protocol/keys.ts'
import { decodeCollectorMessage } from '../../src/protocol/run.ts'
import { chunkOf, spans, useRedis } from '../store/support/lane.ts'
import type { TestJob, TestLane } from '../store/support/lane.ts'

const redis = useRedis()

async function laneWithWorker(): Promise<TestLane> {
  const lane = redis.lane()
  await lane.join('w', ['a', 'b'])
  return lane
}

/** A job of one chunk of `tasks`, which claim a holds. */
async function claimedChunk(
  lane: TestLane,
  tasks: number,
  options: Parameters<TestLane['job']>[1] = {},
): Promise<TestJob> {
  const job = await lane.job(tasks, { per: tasks, ...options })
  await lane.client.hset(lane.keysOf(job.job).part, 'pace', 1000)
  await lane.take('w', 'a')
  return job
}

const oneRun = (first: number, count: number) => [{ first, count, kind: 'values' as const, bytes: Buffer.from('r') }]

describe('settle', () => {
  test('writes the runs, counts them and releases the chunk', async () => {
    const lane = await laneWithWorker()
    const job = await claimedChunk(lane, 10)
    const reply = await lane.claims.settle(job, 'a', {
      chunks: [{ first: 0, attempt: 1, done: 10 }],
      runs: [
        { first: 0, count: 9, kind: 'values', bytes: Buffer.from('nine') },
        { first: 9, count: 1, kind: 'failure', bytes: Buffer.from('boom') },
      ],
      retries: [],
      paceNs: 123.4,
    })
    expect(reply).toEqual({ word: 'committed', settled: 10, inLine: false })
    expect(await lane.results(job)).toEqual({ 0: '9 values\nnine', 9: '1 failure\nboom' })
    expect(await lane.record(job)).toMatchObject({ settled: 10, failed: 1, waiting: 0, pace: 123.4 })
    expect(await lane.client.exists(lane.claimKey('a'))).toBe(0)
  })

  test('settles several chunks of a claim at once, in the middle of it too', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(5)
    for (let i = 0; i < 5; i++) await lane.take('w', 'a')
    const [, second, , fourth] = await lane.held('a')
    if (second === undefined || fourth === undefined) throw new Error('the claim should hold five chunks')
    expect((await lane.finish(job, 'a', [second, fourth])).word).toBe('committed')
    expect(spans(await lane.held('a'))).toEqual(['0+1', '2+1', '4+1'])
    expect((await lane.record(job)).settled).toBe(2)
  })

  test.each(['chunks', 'delayed', 'due', 'payloads', 'results'] as const)(
    'does nothing where something else stands in %s, and all of it once that is cleared away',
    async where => {
      const lane = await laneWithWorker()
      const job = await lane.job(0, { complete: false })
      const { part, payloads } = lane.keysOf(job.job)
      await lane.client.hset(part, 'submitted', 11, 'waiting', 0)
      const held = { first: 10, kind: 'held' } as const
      await lane.client.hset(payloads, payloadField({ ...job, ...held }), 'large')
      await lane.client.lpush(lane.claimKey('a'), chunkOf(job, { first: 0, count: 10 }), chunkOf(job, held))
      const commit = {
        chunks: [
          { first: 0, attempt: 1, done: 8 },
          { first: 10, attempt: 1, done: 1 },
        ],
        runs: [...oneRun(0, 7), ...oneRun(10, 1)],
        retries: [{ delayMs: 60_000, element: chunkOf(job, { first: 7, attempt: 2 }) }],
        paceNs: 0,
      }
      const damaged = { ...lane.keysOf(job.job), ...lane.keys }[where]
      await lane.client.del(damaged)
      await lane.client.set(damaged, 'garbage')
      await expect(lane.claims.settle(job, 'a', commit)).rejects.toThrow('WRONGTYPE')
      expect(spans(await lane.held('a'))).toEqual(['0+10', '10+1'])
      expect(await lane.record(job)).toMatchObject({ settled: 0, waiting: 0 })
      expect(await lane.client.exists(damaged)).toBe(0)
      expect(await lane.claims.settle(job, 'a', commit)).toMatchObject({ word: 'committed', settled: 8 })
      expect(spans(await lane.waitingChunks(job))).toEqual(['8+2'])
      expect(spans(await lane.delayedChunks(job))).toEqual(['7+1'])
      expect(await lane.record(job)).toMatchObject({ settled: 8, waiting: 2 })
    },
  )

  test('hands back what was not done, first in line', async () => {
    const lane = await laneWithWorker()
    const job = await claimedChunk(lane, 10, { complete: false })
    await lane.parts.submit(job, {
      from: 10,
      to: 11,
      skipped: 0,
      taskless: 0,
      complete: true,
      elements: [chunkOf(job, { first: 10 })],
      driverLeaseMs: 1000,
    })
    const commit = { chunks: [{ first: 0, attempt: 1, done: 4 }], runs: oneRun(0, 4), retries: [], paceNs: 0 }
    expect(await lane.claims.settle(job, 'a', commit)).toEqual({ word: 'committed', settled: 4, inLine: true })
    expect(spans(await lane.waitingChunks(job))).toEqual(['4+6', '10+1'])
    expect((await lane.waitingChunks(job))[0]).toMatchObject({ base: 0 })
    expect(await lane.record(job)).toMatchObject({ waiting: 7, settled: 4 })
    expect(await lane.held('a')).toEqual([])
  })

  test('offers what it hands back to a thread that waits', async () => {
    const lane = await laneWithWorker()
    const job = await claimedChunk(lane, 10)
    await lane.take('w', 'b', { waitMs: 5000 })
    await lane.claims.settle(job, 'a', {
      chunks: [{ first: 0, attempt: 1, done: 4 }],
      runs: oneRun(0, 4),
      retries: [],
      paceNs: 0,
    })
    expect(spans(await lane.staged())).toEqual(['4+6'])
    expect((await lane.record(job)).waiting).toBe(0)
  })

  test('puts a retry off until it is due, as the next attempt', async () => {
    const lane = await laneWithWorker()
    const job = await claimedChunk(lane, 3)
    const element = chunkOf(job, { first: 1, attempt: 2 })
    await lane.claims.settle(job, 'a', {
      chunks: [{ first: 0, attempt: 1, done: 3 }],
      runs: [...oneRun(0, 1), ...oneRun(2, 1)],
      retries: [{ delayMs: 60_000, element }],
      paceNs: 0,
    })
    expect(await lane.delayedChunks(job)).toMatchObject([{ first: 1, attempt: 2 }])
    expect(await lane.record(job)).toMatchObject({ settled: 2, waiting: 0 })
    expect(await lane.client.zcard(lane.keys.due)).toBe(1)
    expect(await lane.upkeep.promote(job.job, job.hash)).toBe(0)
  })

  test('lets nobody but the holder settle, and then changes nothing', async () => {
    const lane = await laneWithWorker()
    const job = await claimedChunk(lane, 4)
    const before = await lane.everything()
    const commit = { chunks: [{ first: 0, attempt: 1, done: 4 }], runs: oneRun(0, 4), retries: [], paceNs: 5 }
    expect(await lane.claims.settle(job, 'b', commit)).toEqual({ word: 'fenced', settled: 0, inLine: false })
    const wrong = [
      { first: 0, attempt: 2, done: 4 },
      { first: 1, attempt: 1, done: 4 },
      { first: 0, attempt: 1, done: 5 },
    ]
    for (const chunk of wrong)
      expect((await lane.claims.settle(job, 'a', { ...commit, chunks: [chunk] })).word).toBe('fenced')
    expect(await lane.everything()).toEqual(before)
  })

  test('settles all of the chunks named or none', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(2)
    await lane.take('w', 'a')
    await lane.take('w', 'b')
    const before = await lane.everything()
    expect((await lane.finish(job, 'a', [...(await lane.held('a')), ...(await lane.held('b'))])).word).toBe('fenced')
    expect(await lane.everything()).toEqual(before)
  })

  test('refuses the commit of a worker that was declared dead, whose task somebody else has', async () => {
    const lane = await laneWithWorker()
    await lane.join('v', ['c'])
    const job = await claimedChunk(lane, 1)
    const [chunk] = await lane.held('a')
    if (chunk === undefined) throw new Error('the claim should hold a chunk')
    await lane.killWorker('w')
    await lane.claims.giveBackOfDead(job.job, job.hash, 'a', {
      worker: 'w',
      maxDeaths: 3,
      failure: Buffer.from(''),
      evidence: '',
    })
    const before = await lane.everything()
    expect((await lane.finish(job, 'a', [chunk])).word).toBe('fenced')
    expect(await lane.everything()).toEqual(before)
    const [again] = (await lane.take('v', 'c')).chunks
    expect(again).toMatchObject({ first: 0, deaths: 1 })
    expect((await lane.finish(job, 'a', [chunk])).word).toBe('fenced')
    expect((await lane.finish(job, 'c', [chunk])).word).toBe('committed')
    expect((await lane.record(job)).settled).toBe(1)
  })

  test('fences the second sending of a commit whose reply was lost', async () => {
    const lane = await laneWithWorker()
    const job = await claimedChunk(lane, 4)
    const held = await lane.held('a')
    expect((await lane.finish(job, 'a', held)).word).toBe('committed')
    const before = await lane.everything()
    expect((await lane.finish(job, 'a', held)).word).toBe('fenced')
    expect(await lane.everything()).toEqual(before)
  })

  test('discards the results of a job that was dropped, cancelled or created anew, and frees the claim', async () => {
    const lane = await laneWithWorker()
    const dropped = await claimedChunk(lane, 1, { id: 'dropped' })
    const cancelled = await claimedChunk(lane, 1, { id: 'cancelled' })
    const renewed = await claimedChunk(lane, 1, { id: 'renewed' })
    await lane.parts.drop(dropped)
    await lane.parts.drop({ ...cancelled, collector: '' })
    await lane.parts.drop(renewed)
    const anew = await lane.job(1, { id: 'renewed' })
    for (const job of [dropped, cancelled, renewed]) {
      const [chunk] = (await lane.held('a')).filter(held => held.job === job.job)
      if (chunk === undefined) throw new Error(`the claim should hold a chunk of ${job.job}`)
      expect(await lane.finish(job, 'a', [chunk])).toEqual({ word: 'discarded', settled: 0, inLine: false })
    }
    expect(await lane.held('a')).toEqual([])
    expect(await lane.record(anew)).toMatchObject({ settled: 0, waiting: 1 })
    expect(await lane.client.exists(lane.keysOf('dropped').results, lane.keysOf('renewed').results)).toBe(0)
  })

  test('passes over malformed elements in a claim', async () => {
    const lane = await laneWithWorker()
    const job = await claimedChunk(lane, 1)
    await lane.client.rpush(lane.claimKey('a'), 'rubbish')
    expect((await lane.finish(job, 'a', [{ first: 0, count: 1, attempt: 1 }])).word).toBe('committed')
    expect(await lane.client.lrange(lane.claimKey('a'), 0, -1)).toEqual(['rubbish'])
  })

  test('tells the collector what was settled, with small results and without large ones', async () => {
    const lane = await laneWithWorker()
    const job = await claimedChunk(lane, 3)
    const listener = redis.open()
    const heard: Buffer[] = []
    await listener.subscribe(collectorChannel(lane.lane.namespace, 'default', job.collector))
    listener.on('messageBuffer', (_channel: Buffer, message: Buffer) => heard.push(message))
    const small = { first: 0, count: 2, kind: 'values' as const, bytes: Buffer.from([0, 10, 255, 32]) }
    const large = { first: 2, count: 1, kind: 'values' as const, bytes: Buffer.alloc(200_000) }
    await lane.claims.settle(job, 'a', {
      chunks: [{ first: 0, attempt: 1, done: 3 }],
      runs: [small, large],
      retries: [],
      paceNs: 7,
    })
    await expect.poll(() => heard).toHaveLength(1)
    expect(decodeCollectorMessage(heard[0] ?? Buffer.alloc(0))).toEqual({
      type: 'results',
      job: job.job,
      incarnation: job.incarnation,
      settled: 3,
      paceNs: 7,
      runs: [small],
      unread: [
        {
          first: 2,
          count: 1,
          kind: 'values',
          valueBytes: large.bytes.length,
          held: expect.stringMatching(/^r:/) as string,
        },
      ],
    })
  })
})

describe('cancelTask', () => {
  const failure = Buffer.from('cancelled')

  test('takes one task out of the middle of a waiting chunk and settles it', async () => {
    const lane = redis.lane()
    const job = await lane.job(9, { per: 9 })
    expect(await lane.parts.cancelTask(job, 4, failure)).toBe('cancelled')
    expect(spans(await lane.waitingChunks(job)).sort()).toEqual(['0+4', '5+4'])
    expect(await lane.parts.cancelTask(job, 0, failure)).toBe('cancelled')
    expect(await lane.parts.cancelTask(job, 8, failure)).toBe('cancelled')
    expect(spans(await lane.waitingChunks(job)).sort()).toEqual(['1+3', '5+3'])
    expect(await lane.record(job)).toMatchObject({ waiting: 6, settled: 3, failed: 3 })
    expect(await lane.results(job)).toEqual({
      0: '1 failure\ncancelled',
      4: '1 failure\ncancelled',
      8: '1 failure\ncancelled',
    })
  })

  test('leaves a task that is settled, claimed or of another incarnation alone', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(2)
    await lane.take('w', 'a')
    await lane.take('w', 'a')
    await lane.finish(job, 'a', (await lane.held('a')).slice(0, 1))
    const before = await lane.everything()
    for (const index of [0, 1, 2]) expect(await lane.parts.cancelTask(job, index, failure)).toBe('elsewhere')
    expect(await lane.parts.cancelTask({ ...job, incarnation: 'former' }, 1, failure)).toBe('elsewhere')
    expect(await lane.everything()).toEqual(before)
  })

  test('takes a task out that waits for a retry', async () => {
    const lane = redis.lane()
    const job = await lane.job(1)
    await lane.client.del(lane.keysOf(job.job).chunks)
    await lane.client.zadd(lane.keysOf(job.job).delayed, 9e12, chunkOf(job, { first: 0, attempt: 2 }))
    expect(await lane.parts.cancelTask(job, 0, failure)).toBe('cancelled')
    expect(await lane.delayedChunks(job)).toEqual([])
  })

  test('of the last task of a detached job starts its expiry', async () => {
    const lane = redis.lane()
    const job = await lane.job(1, { detached: true })
    await lane.parts.cancelTask(job, 0, failure)
    expect(await lane.client.pttl(lane.keysOf(job.job).part)).toBeGreaterThan(0)
    expect(await lane.client.pttl(lane.keysOf(job.job).results)).toBeGreaterThan(0)
  })
})

describe('expiry', () => {
  test('a detached job expires as a whole once everything is settled, and not before', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(2, { detached: true, keepMs: 50_000 })
    for (let i = 0; i < 2; i++) {
      expect(await lane.client.pttl(lane.keysOf(job.job).part)).toBe(-1)
      await lane.take('w', 'a')
      await lane.finish(job, 'a', await lane.held('a'))
    }
    for (const key of [lane.keysOf(job.job).part, lane.keysOf(job.job).results]) {
      expect(await lane.client.pttl(key)).toBeGreaterThan(40_000)
    }
  })

  test('what comes back to a parked job expires with it', async () => {
    const lane = await laneWithWorker()
    const job = await claimedChunk(lane, 10)
    await lane.client.zadd(lane.keys.driven, 1, job.job)
    await lane.upkeep.park(job.job, job.hash)
    await lane.claims.settle(job, 'a', {
      chunks: [{ first: 0, attempt: 1, done: 4 }],
      runs: oneRun(0, 3),
      retries: [{ delayMs: 1000, element: chunkOf(job, { first: 3, attempt: 2 }) }],
      paceNs: 0,
    })
    const { part, chunks, results, delayed } = lane.keysOf(job.job)
    const at = await lane.client.pexpiretime(part)
    expect(at).toBeGreaterThan(0)
    for (const key of [chunks, results, delayed]) expect(await lane.client.pexpiretime(key)).toBe(at)
    expect(await lane.client.zcard(lane.codeKeys().ready)).toBe(0)
  })
})
