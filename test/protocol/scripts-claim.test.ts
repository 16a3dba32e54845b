import { describe, expect, test } from 'vitest'
import { chunkOf, spans, useRedis } from '../store/support/lane.ts'
import type { TestLane } from '../store/support/lane.ts'

const redis = useRedis()

async function laneWithWorker(): Promise<TestLane> {
  const lane = redis.lane()
  await lane.join('w', ['a', 'b'])
  return lane
}

describe('claim', () => {
  test('moves chunks into the List of the claim, oldest first', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(3)
    expect(spans((await lane.take('w', 'a')).chunks)).toEqual(['0+1'])
    expect(spans((await lane.take('w', 'a')).chunks)).toEqual(['1+1'])
    expect(spans(await lane.held('a'))).toEqual(['0+1', '1+1'])
    expect((await lane.record(job)).waiting).toBe(1)
  })

  test('gives nothing to a claim that no reaper would find', async () => {
    const lane = await laneWithWorker()
    await lane.job(1)
    const before = await lane.everything()
    expect((await lane.take('w', 'unknown')).word).toBe('unenrolled')
    expect((await lane.take('nobody', 'a')).word).toBe('unenrolled')
    expect(await lane.everything()).toEqual(before)
  })

  test('gives nothing to a worker that was declared dead, whose claims are being emptied', async () => {
    const lane = await laneWithWorker()
    await lane.job(1)
    await lane.killWorker('w')
    const before = await lane.everything()
    expect((await lane.take('w', 'a')).word).toBe('unenrolled')
    expect(await lane.everything()).toEqual(before)
  })

  test('names the jobs that stand first when the caller has not declared them, and takes nothing', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(1)
    const before = await lane.everything()
    const request = { worker: 'w', claim: 'a', hash: 'c0de', waitMs: 0, mostChunks: 1, mostBytes: 1000 }
    expect(await lane.claims.claim({ ...request, jobs: [] })).toEqual({
      word: 'undeclared',
      jobs: [job.job],
      elements: [],
    })
    expect(await lane.claims.claim({ ...request, jobs: ['some-other'] })).toMatchObject({
      word: 'undeclared',
      jobs: [job.job],
    })
    expect(await lane.everything()).toEqual(before)
    expect((await lane.claims.claim({ ...request, jobs: ['some-other', job.job] })).word).toBe('claimed')
  })

  test('notes that the caller blocks only when it says so, and forgets it when it gets something', async () => {
    const lane = await laneWithWorker()
    const { waiting } = lane.codeKeys()
    expect((await lane.take('w', 'a')).word).toBe('empty')
    expect(await lane.client.zcard(waiting)).toBe(0)
    expect((await lane.take('w', 'a', { waitMs: 3000 })).word).toBe('empty')
    expect(await lane.client.zrange(waiting, 0, '-1')).toEqual(['a'])
    await lane.job(1)
    expect(spans((await lane.take('w', 'a')).chunks)).toEqual(['0+1'])
    expect(await lane.client.zcard(waiting)).toBe(0)
  })

  test('what threads that were killed while they waited have left goes by itself, after the longest wait', async () => {
    const lane = await laneWithWorker()
    const { waiting } = lane.codeKeys()
    await lane.take('w', 'a', { waitMs: 25_000 })
    await lane.take('w', 'b', { waitMs: 10 })
    expect(await lane.client.pttl(waiting)).toBeGreaterThan(50_000)
    expect(await lane.client.pttl(waiting)).toBeLessThanOrEqual(60_000)
    expect(await lane.client.zrange(waiting, 0, '-1')).toEqual(['b', 'a'])
  })

  test('takes what stands on the stage first', async () => {
    const lane = await laneWithWorker()
    await lane.take('w', 'a', { waitMs: 3000 })
    await lane.job(1)
    expect(spans(await lane.staged())).toEqual(['0+1'])
    await lane.job(1)
    expect(spans((await lane.take('w', 'b')).chunks)).toEqual(['0+1'])
  })

  test('puts what is next in line there for the thread that is about to block, and takes no more than one chunk', async () => {
    const lane = await laneWithWorker()
    const { waiting } = lane.codeKeys()
    await lane.take('w', 'a', { waitMs: 3000 })
    const job = await lane.job(4)
    expect(spans(await lane.staged())).toEqual(['0+1'])
    // The reply is 'undeclared' first: the caller does not know the job yet.
    expect(spans((await lane.take('w', 'b', { mostChunks: 10 })).chunks)).toEqual(['0+1'])
    expect(spans(await lane.staged())).toEqual(['1+1'])
    expect(spans(await lane.waitingChunks(job))).toEqual(['2+1', '3+1'])
    expect((await lane.record(job)).waiting).toBe(2)
    expect(await lane.client.zrange(waiting, 0, '-1')).toEqual(['a'])
  })

  test('leaves no empty line behind when that was the last of it', async () => {
    const lane = await laneWithWorker()
    await lane.take('w', 'a', { waitMs: 3000 })
    const job = await lane.job(2)
    await lane.take('w', 'b')
    expect(spans(await lane.staged())).toEqual(['1+1'])
    expect(await lane.client.zcard(lane.codeKeys().ready)).toBe(0)
    expect((await lane.record(job)).waiting).toBe(0)
  })

  test('puts nothing there where nobody else waits', async () => {
    const lane = await laneWithWorker()
    await lane.take('w', 'a', { waitMs: 3000 })
    await lane.job(3)
    expect(spans((await lane.take('w', 'b', { noted: 'a' })).chunks)).toEqual(['0+1'])
    expect(await lane.staged()).toEqual([])
    expect(await lane.client.zcard(lane.codeKeys().waiting)).toBe(0)
  })

  test('counts a thread that waits once, whatever claims it waits with', async () => {
    const lane = await laneWithWorker()
    await lane.take('w', 'a', { waitMs: 3000 })
    await lane.take('w', 'b', { waitMs: 3000, noted: 'a' })
    expect(await lane.client.zrange(lane.codeKeys().waiting, 0, '-1')).toEqual(['b'])
  })

  test('takes as many tasks as forty milliseconds hold, and cuts a chunk that is larger', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(10_000, { per: 10_000 })
    await lane.client.hset(lane.keysOf(job.job).part, 'pace', 100_000)
    expect(spans((await lane.take('w', 'a')).chunks)).toEqual(['0+400'])
    const [rest] = await lane.waitingChunks(job)
    expect(rest).toMatchObject({ first: 400, count: 9600, base: 0 })
    expect((await lane.record(job)).waiting).toBe(9600)
  })

  test('takes single tasks of a job that was not measured yet, so that the first spread over all threads', async () => {
    const lane = await laneWithWorker()
    await lane.job(100, { per: 100 })
    expect(spans((await lane.take('w', 'a')).chunks)).toEqual(['0+1'])
    expect(spans((await lane.take('w', 'b')).chunks)).toEqual(['1+1'])
  })

  test('gives a suspect only to a thread that holds nothing, and nothing with it', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(3, { complete: false })
    await lane.take('w', 'a')
    await lane.client.rpush(lane.keysOf(job.job).chunks, chunkOf(job, { first: 2, deaths: 1 }))
    expect((await lane.take('w', 'a', { mostChunks: 10 })).word).toBe('empty')
    expect(spans((await lane.take('w', 'b', { mostChunks: 10 })).chunks)).toEqual(['2+1'])
  })

  test('gives nothing to a thread that will soon hold nothing, rather than pass by a suspect for another job', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(3, { complete: false })
    await lane.take('w', 'a')
    await lane.client.rpush(lane.keysOf(job.job).chunks, chunkOf(job, { first: 2, deaths: 1 }))
    const other = await lane.job(4)
    await lane.client.zadd(lane.codeKeys().ready, -2, job.job, -1, other.job)
    const before = await lane.everything()
    expect((await lane.take('w', 'a', { defers: true })).word).toBe('empty')
    expect(await lane.everything()).toEqual(before)
    // One that holds something for long goes on with the other job.
    expect((await lane.take('w', 'a')).chunks).toMatchObject([{ job: other.job }])
    await lane.client.zadd(lane.codeKeys().ready, -2, job.job)
    expect((await lane.take('w', 'b', { defers: true })).chunks).toMatchObject([{ job: job.job, deaths: 1 }])
  })

  test('gives nothing to a thread that will soon hold nothing, rather than pass by a suspect on the stage', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(3, { complete: false })
    await lane.take('w', 'a')
    await lane.client.lpush(lane.codeKeys().stage, chunkOf(job, { first: 2, deaths: 1 }))
    const before = await lane.everything()
    expect((await lane.take('w', 'a', { defers: true })).word).toBe('empty')
    expect(await lane.everything()).toEqual(before)
    // One that holds something for long goes on with what waits.
    expect((await lane.take('w', 'a')).chunks).toMatchObject([{ job: job.job, deaths: 0 }])
    expect((await lane.take('w', 'b', { defers: true })).chunks).toMatchObject([{ job: job.job, deaths: 1 }])
  })

  test('gives no chunk of another job or incarnation, or of tasks that were not submitted', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(2)
    const odd = [
      chunkOf({ ...job, incarnation: 'other' }, { first: 0 }),
      chunkOf({ ...job, job: 'other' }, { first: 0 }),
      chunkOf(job, { first: 0, count: 999_999_999_999_999, kind: 'range' }),
      chunkOf(job, { first: 2 }),
    ]
    await lane.client.rpush(lane.keysOf(job.job).chunks, ...odd)
    expect(spans((await lane.take('w', 'a')).chunks)).toEqual(['0+1'])
    expect(await lane.client.llen(lane.keys.malformed)).toBe(odd.length)
  })

  test('throws names out of the queue that can be none, which nobody could declare', async () => {
    const lane = await laneWithWorker()
    await lane.job(1)
    for (const name of [Buffer.from([0xff, 0xfe]), Buffer.from('a b'), Buffer.alloc(300, 0x61), Buffer.alloc(0)])
      await lane.client.zadd(lane.codeKeys().ready, '-inf', name)
    expect(spans((await lane.take('w', 'a')).chunks)).toEqual(['0+1'])
    expect(await lane.client.zcard(lane.codeKeys().ready)).toBe(0)
  })

  test('leaves a staged suspect to a thread that holds nothing', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(2)
    await lane.take('w', 'a')
    await lane.client.lpush(lane.codeKeys().stage, chunkOf(job, { first: 9, deaths: 2 }))
    expect(spans((await lane.take('w', 'a')).chunks)).toEqual(['1+1'])
    expect(spans((await lane.take('w', 'b')).chunks)).toEqual(['9+1'])
  })

  test('sets elements aside that are no chunks, on the stage and in a List, and goes on', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(1)
    await lane.client.rpush(lane.keysOf(job.job).chunks, 'rubbish', 'job inc 0 0 0 1 0 pack plain task\n')
    await lane.client.rpush(lane.codeKeys().stage, Buffer.from([0xff, 0x00, 0x0a]))
    expect(spans((await lane.take('w', 'a')).chunks)).toEqual(['0+1'])
    expect(await lane.client.llen(lane.keys.malformed)).toBe(3)
    expect(await lane.client.llen(lane.codeKeys().stage)).toBe(0)
  })

  test('keeps at most a hundred malformed elements, and their beginnings', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(1)
    const rubbish = Array.from({ length: 160 }, () => 'x'.repeat(10_000))
    await lane.client.rpush(lane.keysOf(job.job).chunks, ...rubbish)
    for (let i = 0; i < 12; i++) await lane.take('w', 'a')
    expect(spans(await lane.held('a'))).toEqual(['0+1'])
    expect(await lane.client.llen(lane.keys.malformed)).toBe(100)
    expect(await lane.client.lindex(lane.keys.malformed, 0)).toHaveLength(4096)
  })
})

describe('turns between jobs', () => {
  const orders: readonly [name: string, priorities: Readonly<Record<string, number>>, order: string][] = [
    ['equal jobs take turns', { x: 0, y: 0, z: 0 }, 'xyzxyzxyz'],
    ['a higher priority goes first, whole', { x: 0, y: 5, z: 0 }, 'yyyxzxzxz'],
    ['a negative priority goes last', { x: -1, y: 0 }, 'yyyxxx'],
    ['the widest priorities keep their order', { x: -1000, y: 1000, z: 0 }, 'yyyzzzxxx'],
  ]
  test.each(orders)('%s', async (_name, priorities, order) => {
    const lane = await laneWithWorker()
    for (const [id, priority] of Object.entries(priorities)) await lane.job(3, { id, priority })
    let taken = ''
    for (;;) {
      const [chunk] = (await lane.take('w', 'a')).chunks
      if (chunk === undefined) break
      taken += chunk.job
    }
    expect(taken).toBe(order)
  })

  test('a job that comes later has its turn next but one, however long the others are', async () => {
    const lane = await laneWithWorker()
    await lane.job(50, { id: 'long' })
    for (let i = 0; i < 10; i++) await lane.take('w', 'a')
    await lane.job(1, { id: 'short' })
    const next = [...(await lane.take('w', 'a')).chunks, ...(await lane.take('w', 'a')).chunks]
    expect(next.map(({ job }) => job)).toContain('short')
  })

  test('jobs of another code are not seen', async () => {
    const lane = await laneWithWorker()
    await lane.job(1, { hash: 'other' })
    expect((await lane.take('w', 'a')).word).toBe('empty')
    expect(spans((await lane.take('w', 'a', { hash: 'other' })).chunks)).toEqual(['0+1'])
  })
})
