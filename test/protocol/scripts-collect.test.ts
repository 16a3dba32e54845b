import { describe, expect, test } from 'vitest'
import { collectorChannel } from '../../src/protocol/keys.ts'
import { decodeCollectorMessage } from '../../src/protocol/run.ts'
import { chunkOf, driverLeaseMs, spans, useRedis } from '../store/support/lane.ts'
import type { TestJob, TestLane } from '../store/support/lane.ts'

const redis = useRedis()

async function listen(lane: TestLane, { collector }: TestJob) {
  const listener = redis.open()
  const heard: unknown[] = []
  await listener.subscribe(collectorChannel(lane.lane.namespace, 'default', collector))
  listener.on('messageBuffer', (_channel: Buffer, message: Buffer) => heard.push(decodeCollectorMessage(message)))
  return heard
}

async function settledJob(lane: TestLane): Promise<TestJob> {
  await lane.join('w', ['a'])
  const job = await lane.job(3)
  for (let i = 0; i < 3; i++) await lane.take('w', 'a')
  await lane.finish(job, 'a', await lane.held('a'))
  return job
}

describe('release', () => {
  test('deletes runs, counts them, and stores the accumulator with its cursor', async () => {
    const lane = redis.lane()
    const job = await settledJob(lane)
    const runs = [
      { first: 0, count: 1 },
      { first: 1, count: 1 },
    ]
    expect(await lane.parts.release(job, { runs, cursor: 2, accumulator: Buffer.from('sum') })).toBe('released')
    expect(Object.keys(await lane.results(job))).toEqual(['2'])
    expect(await lane.record(job)).toMatchObject({
      released: 2,
      checkpoint: { cursor: 2, accumulator: Buffer.from('sum') },
    })
  })

  test('leaves a run that is there with another number of tasks, and the checkpoint of a reduction before it', async () => {
    const lane = redis.lane()
    const job = await settledJob(lane)
    const runs = [
      { first: 0, count: 1 },
      { first: 1, count: 1 },
    ]
    const before = await lane.everything()
    const longer = [runs[0]!, { first: 1, count: 2 }]
    expect(await lane.parts.release(job, { runs: longer, cursor: 3, accumulator: Buffer.from('sum') })).toBe('clash')
    expect(await lane.everything()).toEqual(before)
    // A stream takes from it later what it has not had.
    expect(await lane.parts.release(job, { runs: longer, cursor: 3 })).toBe('released')
    expect(Object.keys(await lane.results(job)).sort()).toEqual(['1', '2'])
    expect(await lane.record(job)).toMatchObject({ released: 1, cursor: 3 })
    // What is not there any more is no clash: the reply to an earlier sending was lost.
    expect(await lane.parts.release(job, { runs, cursor: 3, accumulator: Buffer.from('sum') })).toBe('released')
    expect(await lane.record(job)).toMatchObject({ released: 2 })
  })

  test('moves the checkpoint of what threads combine over what is there, from where it is said to be, and not otherwise', async () => {
    const lane = redis.lane()
    const job = await settledJob(lane)
    const run = (first: number) => ({ first, count: 1 })
    const upTo = (cursor: number, from: number, runs: number[]) =>
      lane.parts.release(job, { runs: runs.map(run), cursor, accumulator: Buffer.from(`sum ${cursor}`), from })
    expect(await upTo(1, 0, [0])).toBe('released')
    const before = await lane.everything()
    // The reply was lost.
    expect(await upTo(1, 0, [0])).toBe('released')
    expect(await lane.everything()).toEqual(before)
    // Redis went back: to before the last checkpoint, or only to before the results that came after it.
    expect(await upTo(3, 2, [2])).toBe('clash')
    await lane.client.hdel(lane.keysOf(job.job).results, '1')
    const robbed = await lane.everything()
    expect(await upTo(3, 1, [1, 2])).toBe('clash')
    expect(await lane.everything()).toEqual(robbed)
    expect(await lane.record(job)).toMatchObject({ released: 1, checkpoint: { cursor: 1 } })
  })

  test('lets nobody but the collector release', async () => {
    const lane = redis.lane()
    const job = await settledJob(lane)
    const released = { runs: [{ first: 0, count: 1 }], cursor: 1, accumulator: Buffer.from('sum') }
    const before = await lane.everything()
    expect(await lane.parts.release({ ...job, collector: 'former' }, released)).toBe('replaced')
    expect(await lane.parts.release({ ...job, incarnation: 'former' }, released)).toBe('gone')
    expect(await lane.parts.release({ ...job, job: 'nowhere' }, released)).toBe('gone')
    expect(await lane.everything()).toEqual(before)
  })
})

describe('attach', () => {
  test('replaces the collector, who is told and refused from then on', async () => {
    const lane = redis.lane()
    const job = await lane.job(2, { complete: false })
    const heard = await listen(lane, job)
    expect(await lane.parts.attach(job.job, 'newer', driverLeaseMs, job.hash)).toMatchObject({
      submitted: 2,
      collector: 'newer',
    })
    await expect.poll(() => heard).toEqual([{ type: 'replaced', job: job.job, incarnation: job.incarnation }])
    const batch = {
      from: 2,
      to: 3,
      skipped: 0,
      taskless: 0,
      complete: true,
      elements: [chunkOf(job, { first: 2 })],
      driverLeaseMs,
    }
    expect((await lane.parts.submit(job, batch)).word).toBe('replaced')
    expect(await lane.parts.drop(job)).toBe('replaced')
    expect((await lane.parts.submit({ ...job, collector: 'newer' }, batch)).word).toBe('submitted')
  })

  test('wakes a parked job', async () => {
    const lane = redis.lane()
    const job = await lane.job(2)
    await lane.client.zadd(lane.keys.driven, 1, job.job)
    await lane.upkeep.park(job.job, job.hash)
    await lane.parts.attach(job.job, 'newer', driverLeaseMs, job.hash)
    expect((await lane.record(job)).state).toBe('open')
    expect(await lane.client.pttl(lane.keysOf(job.job).part)).toBe(-1)
    expect(await lane.client.pttl(lane.keysOf(job.job).chunks)).toBe(-1)
    await lane.join('w', ['a'])
    expect(spans((await lane.take('w', 'a')).chunks)).toEqual(['0+1'])
  })

  test('finds no job where there is none', async () => {
    const lane = redis.lane()
    expect(await lane.parts.attach('nowhere', 'c', driverLeaseMs, 'c0de')).toBeUndefined()
    expect(await lane.allKeys()).toEqual([])
  })

  test('takes a job back only from the collector that was seen to have it', async () => {
    const lane = redis.lane()
    const job = await lane.job(2, { complete: false })
    const takeBack = (collector: string) =>
      lane.parts.attach(job.job, collector, driverLeaseMs, job.hash, job.collector)
    expect(await takeBack('second')).toMatchObject({ collector: 'second', attaches: 1 })
    const before = await lane.everything()
    expect(await takeBack('frozen')).toBeUndefined()
    expect(await lane.everything()).toEqual(before)
    // Sent again after a lost reply.
    expect(await takeBack('second')).toMatchObject({ collector: 'second', attaches: 1 })
  })
})

describe('renewDriver', () => {
  test('extends the leases of jobs that Redis knows, and says how many those are', async () => {
    const lane = redis.lane()
    const job = await lane.job(1, { leaseMs: 1000 })
    const before = Number(await lane.client.zscore(lane.keys.driven, job.job))
    expect(await lane.parts.renewDriver([job.job, 'nowhere'], 60_000)).toBe(1)
    expect(Number(await lane.client.zscore(lane.keys.driven, job.job)) - before).toBeGreaterThan(50_000)
    expect(await lane.client.zscore(lane.keys.driven, 'nowhere')).toBeNull()
  })
})

describe('park', () => {
  test('parks only jobs whose lease has lapsed; all of their keys expire together', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'])
    const job = await lane.job(3, { keepMs: 40_000 })
    await lane.take('w', 'a')
    await lane.finish(job, 'a', await lane.held('a'))
    expect(await lane.upkeep.park(job.job, job.hash)).toBe('alive')
    await lane.client.zadd(lane.keys.driven, 1, job.job)
    expect(await lane.upkeep.park(job.job, job.hash)).toBe('parked')
    const { part, chunks, results } = lane.keysOf(job.job)
    const at = await lane.client.pexpiretime(part)
    expect(at).toBeGreaterThan(0)
    for (const key of [chunks, results]) expect(await lane.client.pexpiretime(key)).toBe(at)
    expect((await lane.take('w', 'a')).word).toBe('empty')
    expect(await lane.upkeep.park(job.job, job.hash)).toBe('alive')
  })

  test('forgets the lease of a job that is gone', async () => {
    const lane = redis.lane()
    await lane.client.zadd(lane.keys.driven, 1, 'nowhere')
    expect(await lane.upkeep.park('nowhere', 'gone')).toBe('gone')
  })
})

describe('drop', () => {
  test('by its collector leaves nothing of a job', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'])
    const job = await lane.job(3)
    await lane.finish(job, 'a', (await lane.take('w', 'a')).chunks)
    await lane.members.leave('w', ['a'])
    expect(await lane.client.exists(lane.keysOf(job.job).results)).toBe(1)
    expect(await lane.parts.drop(job)).toBe('dropped')
    expect((await lane.allKeys()).sort()).toEqual([lane.keys.lane, lane.keys.retired].sort())
    expect(await lane.parts.drop(job)).toBe('gone')
  })

  test('takes what nobody has come for from the stage, and leaves what is another job’s', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a', 'b', 'c'])
    for (const claim of ['a', 'b', 'c']) await lane.take('w', claim, { waitMs: 60_000 })
    const [job, other] = [await lane.job(2, { id: 'j' }), await lane.job(1, { id: 'j2' })]
    expect(await lane.staged()).toMatchObject([{ job: 'j' }, { job: 'j' }, { job: 'j2' }])
    expect(await lane.parts.drop(job)).toBe('dropped')
    expect(await lane.staged()).toMatchObject([{ job: 'j2' }])
    await lane.parts.drop(other)
    expect(await lane.client.exists(lane.codeKeys().stage)).toBe(0)
  })

  test('by somebody else leaves a mark for a while and tells the collector', async () => {
    const lane = redis.lane()
    const job = await lane.job(3)
    const heard = await listen(lane, job)
    expect(await lane.parts.drop({ ...job, collector: '' })).toBe('dropped')
    await expect.poll(() => heard).toEqual([{ type: 'cancelled', job: job.job, incarnation: job.incarnation }])
    expect((await lane.record(job)).state).toBe('cancelled')
    expect(await lane.client.pttl(lane.keysOf(job.job).part)).toBeGreaterThan(0)
    expect(await lane.client.exists(lane.keysOf(job.job).chunks)).toBe(0)
  })

  test('of another incarnation than meant changes nothing', async () => {
    const lane = redis.lane()
    const job = await lane.job(1)
    const before = await lane.everything()
    expect(await lane.parts.drop({ ...job, incarnation: 'former' })).toBe('gone')
    expect(await lane.parts.drop({ ...job, collector: 'former' })).toBe('replaced')
    expect(await lane.everything()).toEqual(before)
  })
})

describe('promote', () => {
  test('puts due retries first in line and leaves those that are not', async () => {
    const lane = redis.lane()
    const job = await lane.job(1)
    const { delayed } = lane.keysOf(job.job)
    await lane.client.zadd(
      delayed,
      1,
      chunkOf(job, { first: 7, attempt: 2 }),
      2,
      chunkOf(job, { first: 8, attempt: 2 }),
    )
    await lane.client.zadd(delayed, 9e15, chunkOf(job, { first: 9, attempt: 2 }))
    await lane.client.zadd(lane.keys.due, 1, job.job)
    expect(await lane.upkeep.promote(job.job, job.hash)).toBe(2)
    expect(spans(await lane.waitingChunks(job))).toEqual(['7+1', '8+1', '0+1'])
    expect((await lane.record(job)).waiting).toBe(3)
    expect(await lane.client.zscore(lane.keys.due, job.job)).toBe('9000000000000000')
    expect(await lane.upkeep.promote(job.job, job.hash)).toBe(0)
  })

  test('sets malformed retries aside', async () => {
    const lane = redis.lane()
    const job = await lane.job(1)
    await lane.client.zadd(lane.keysOf(job.job).delayed, 1, 'rubbish')
    await lane.client.zadd(lane.keys.due, 1, job.job)
    await lane.upkeep.promote(job.job, job.hash)
    expect(await lane.client.lrange(lane.keys.malformed, 0, -1)).toEqual(['rubbish'])
    expect((await lane.record(job)).waiting).toBe(1)
    expect(await lane.client.zcard(lane.keys.due)).toBe(0)
  })

  test('makes no part anew for retries that outlived it', async () => {
    const lane = redis.lane()
    const job = await lane.job(1)
    await lane.client.zadd(lane.keysOf(job.job).delayed, 1, chunkOf(job, { first: 7, attempt: 2 }))
    await lane.client.zadd(lane.keys.due, 1, job.job)
    await lane.client.del(lane.keysOf(job.job).part)
    expect(await lane.upkeep.promote(job.job, 'gone')).toBe(0)
    expect(await lane.client.exists(lane.keysOf(job.job).part, lane.keysOf(job.job).delayed, lane.keys.due)).toBe(0)
  })

  test('sets aside what is not the job’s, or is of a former life of it', async () => {
    const lane = redis.lane()
    const job = await lane.job(1)
    const { delayed } = lane.keysOf(job.job)
    await lane.client.zadd(delayed, 1, chunkOf({ ...job, incarnation: 'former' }, { first: 0, attempt: 2 }))
    await lane.client.zadd(delayed, 1, chunkOf({ ...job, job: 'other' }, { first: 0, attempt: 2 }))
    await lane.upkeep.promote(job.job, job.hash)
    expect(await lane.record(job)).toMatchObject({ waiting: 1 })
    expect(await lane.client.llen(lane.keys.malformed)).toBe(2)
    expect(await lane.client.exists(delayed)).toBe(0)
  })
})

describe('forget', () => {
  test('clears what an expired job left behind', async () => {
    const lane = redis.lane()
    const job = await lane.job(2)
    await lane.client.del(lane.keysOf(job.job).part)
    expect(await lane.upkeep.forget(job.job, job.hash)).toBe('forgotten')
    expect(await lane.allKeys()).toEqual([lane.keys.lane])
  })

  test('touches no job that is there', async () => {
    const lane = redis.lane()
    const job = await lane.job(2)
    const before = await lane.everything()
    expect(await lane.upkeep.forget(job.job, job.hash)).toBe('alive')
    expect(await lane.everything()).toEqual(before)
  })
})
