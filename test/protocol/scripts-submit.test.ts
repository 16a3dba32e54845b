import { describe, expect, test } from 'vitest'
import { chunkOf, chunksOf, driverLeaseMs, plainFields, spans, useRedis } from '../store/support/lane.ts'
import type { TestJob, TestLane } from '../store/support/lane.ts'

const redis = useRedis()

const batch = (part: TestJob, from: number, to: number) => ({
  from,
  to,
  skipped: 0,
  taskless: 0,
  complete: false,
  elements: chunksOf(part, from, to, 2),
  driverLeaseMs,
})

async function openJob(lane: TestLane): Promise<TestJob> {
  return lane.job(4, { per: 2, complete: false })
}

describe('submit', () => {
  test('creates the part, its place in the queue and its lease', async () => {
    const lane = redis.lane()
    const job = await lane.job(5, { per: 2 })
    expect(await lane.record(job)).toMatchObject({
      ...plainFields,
      state: 'open',
      submitted: 5,
      complete: true,
      waiting: 5,
      settled: 0,
      incarnation: job.incarnation,
    })
    expect(spans(await lane.waitingChunks(job))).toEqual(['0+2', '2+2', '4+1'])
    expect(await lane.client.zrange(lane.codeKeys().ready, 0, '-1')).toEqual([job.job])
    expect(await lane.client.zscore(lane.keys.driven, job.job)).not.toBeNull()
    expect(await lane.client.zscore(lane.keys.jobs, job.job)).not.toBeNull()
  })

  test('inserts a batch once, however often it is sent', async () => {
    const lane = redis.lane()
    const job = await openJob(lane)
    expect(await lane.parts.submit(job, batch(job, 4, 8))).toEqual({ word: 'submitted', submitted: 8 })
    const before = await lane.everything()
    expect(await lane.parts.submit(job, batch(job, 4, 8))).toEqual({ word: 'out of step', submitted: 8 })
    expect(await lane.everything()).toEqual(before)
  })

  test('refuses a batch that leaves a gap', async () => {
    const lane = redis.lane()
    const job = await openJob(lane)
    const before = await lane.everything()
    expect(await lane.parts.submit(job, batch(job, 6, 8))).toEqual({ word: 'out of step', submitted: 4 })
    expect(await lane.everything()).toEqual(before)
  })

  test('refuses another incarnation, a former collector, a parked job and a cancelled one', async () => {
    const lane = redis.lane()
    const job = await openJob(lane)
    expect((await lane.parts.submit({ ...job, incarnation: 'other' }, batch(job, 4, 6))).word).toBe('conflict')
    expect((await lane.parts.submit({ ...job, collector: 'other' }, batch(job, 4, 6))).word).toBe('replaced')
    await lane.client.zadd(lane.keys.driven, 1, job.job)
    expect(await lane.upkeep.park(job.job, job.hash)).toBe('parked')
    expect((await lane.parts.submit(job, batch(job, 4, 6))).word).toBe('parked')
    await lane.parts.drop({ ...job, collector: '' })
    expect((await lane.parts.submit(job, batch(job, 4, 6))).word).toBe('ended')
  })

  test('says that a part which Redis lost is gone, and creates none from the middle', async () => {
    const lane = redis.lane()
    const job = await openJob(lane)
    await lane.client.flushall()
    expect((await lane.parts.submit(job, batch(job, 4, 6))).word).toBe('gone')
    expect((await lane.parts.submit(job, { ...batch(job, 4, 6), create: plainFields })).word).toBe('out of step')
    expect(await lane.allKeys()).toEqual([])
  })

  test('starts anew under the id of a cancelled job', async () => {
    const lane = redis.lane()
    const job = await lane.job(2, { id: 'nightly' })
    await lane.parts.drop({ ...job, collector: '' })
    const again = await lane.job(3, { id: 'nightly' })
    expect(await lane.record(again)).toMatchObject({ submitted: 3, waiting: 3, settled: 0, state: 'open' })
    expect(await lane.client.pttl(lane.keysOf('nightly').part)).toBe(-1)
  })

  test('starts anew, with nothing of the job before it, under the id of one whose record is lost', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'])
    const job = await lane.job(3, { id: 'nightly' })
    const [chunk] = (await lane.take('w', 'a')).chunks
    await lane.finish(job, 'a', [chunk!])
    const { part, delayed, shared } = lane.keysOf('nightly')
    await lane.client.zadd(delayed, 1, chunkOf(job, { first: 2, attempt: 2 }))
    await lane.client.set(shared, 'old')
    await lane.client.del(part)
    const again = await lane.job(2, { id: 'nightly' })
    expect(await lane.results(again)).toEqual({})
    expect(spans(await lane.waitingChunks(again))).toEqual(['0+1', '1+1'])
    expect(await lane.client.exists(delayed, shared)).toBe(0)
  })

  test('keeps the large payload that comes with the creation of its part', async () => {
    const lane = redis.lane()
    const part = { job: 'large', incarnation: 'i2', collector: 'c', hash: 'c0de' }
    const held = { field: 'i2:0', payload: Buffer.alloc(100_000) }
    const elements = [chunkOf(part, { first: 0, kind: 'held' })]
    const first = { ...batch(part, 0, 1), elements, held: [held], create: plainFields }
    expect(await lane.parts.submit(part, first)).toMatchObject({ word: 'submitted' })
    expect(await lane.client.hkeys(lane.keysOf('large').payloads)).toEqual(['i2:0'])
  })

  test('counts tasks that come without chunks as settled, and what never was a task as released', async () => {
    const lane = redis.lane()
    const part = { job: 'again', incarnation: 'i2', collector: 'c', hash: 'c0de' }
    const elements = [chunkOf(part, { first: 1 })]
    await lane.parts.submit(part, {
      from: 0,
      to: 3,
      skipped: 2,
      taskless: 1,
      complete: true,
      elements,
      driverLeaseMs,
      create: plainFields,
    })
    expect(await lane.record(part)).toMatchObject({ submitted: 3, settled: 2, released: 1, waiting: 1 })
  })
})

describe('staging', () => {
  test('hands chunks to threads that wait, at most one for each, and queues the rest', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a', 'b'])
    await lane.take('w', 'a', { waitMs: 5000 })
    await lane.take('w', 'b', { waitMs: 5000 })
    const job = await lane.job(5)
    expect(spans(await lane.staged())).toEqual(['0+1', '1+1'])
    expect(spans(await lane.waitingChunks(job))).toEqual(['2+1', '3+1', '4+1'])
    expect((await lane.record(job)).waiting).toBe(3)
  })

  test('takes threads whose wait is over for gone', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'])
    await lane.client.zadd(lane.codeKeys().waiting, 1, 'a')
    await lane.job(2)
    expect(await lane.staged()).toEqual([])
  })

  test('wakes one blocked thread for one chunk, and leaves the other blocked', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a', 'b'])
    const woken: string[] = []
    const blocked = ['a', 'b'].map(async claim => {
      await lane.take('w', claim, { waitMs: 2000 })
      const chunk = await lane.over(redis.open()).claims.blockingClaim(claim, 'c0de', 1000)
      if (chunk !== null) woken.push(claim)
      return chunk
    })
    await expect.poll(() => lane.client.info('clients')).toMatch(/blocked_clients:2/)
    const job = await lane.job(1)
    await Promise.all(blocked)
    expect(woken).toHaveLength(1)
    expect(spans(await lane.held(woken[0] ?? ''))).toEqual(['0+1'])
    expect((await lane.record(job)).waiting).toBe(0)
  })

  test('says on the control channel that there is work when no thread waits for it', async () => {
    const lane = redis.lane()
    const heard: string[] = []
    const listener = redis.open()
    await listener.subscribe(`${lane.lane.namespace}:default:control`)
    listener.on('message', (_channel: string, message: string) => heard.push(message))
    await lane.job(1)
    await expect.poll(() => heard).toEqual(['work 0 1'])
  })
})
