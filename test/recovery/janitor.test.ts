import { describe, expect, test } from 'vitest'
import { Janitor } from '../../src/recovery/janitor.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { until } from '../support/until.ts'
import { chunkOf, spans, useRedis } from '../store/support/lane.ts'
import type { TestLane } from '../store/support/lane.ts'

const redis = useRedis()
const janitorOf = (lane: TestLane) => new Janitor(lane, { log: silentLog })
const nothing = { parked: 0, forgotten: 0, rescued: 0, pruned: 0 }

describe('a job whose driver is gone', () => {
  test('is parked with what stood on the stage; jobs that are driven are not', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'])
    await lane.take('w', 'a', { waitMs: 60_000 })
    const job = await lane.job(3)
    const driven = await lane.job(1)
    expect(spans(await lane.staged())).toEqual(['0+1'])
    await lane.client.zadd(lane.keys.driven, 1, job.job)
    expect(await janitorOf(lane).runOnce()).toEqual({ ...nothing, parked: 1 })
    expect((await lane.record(job)).state).toBe('parked')
    expect((await lane.record(driven)).state).toBe('open')
    expect(await lane.staged()).toEqual([])
    expect(spans(await lane.waitingChunks(job))).toEqual(['0+1', '1+1', '2+1'])
    expect((await lane.record(job)).waiting).toBe(3)
    expect(await lane.client.pttl(lane.keysOf(job.job).chunks)).toBeGreaterThan(0)
    expect((await lane.take('w', 'a')).chunks).toMatchObject([{ job: driven.job }])
  })

  test('goes on whole when somebody attaches', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'])
    const job = await lane.job(2)
    await lane.client.zadd(lane.keys.driven, 1, job.job)
    await janitorOf(lane).runOnce()
    await lane.parts.attach(job.job, 'newer', 60_000, job.hash)
    expect(spans((await lane.take('w', 'a')).chunks)).toEqual(['0+1'])
    expect(spans((await lane.take('w', 'a')).chunks)).toEqual(['1+1'])
  })
})

describe('an expired job', () => {
  test('leaves nothing behind, once Redis has deleted its record', async () => {
    const lane = redis.lane()
    const job = await lane.job(3, { keepMs: 30 })
    const stays = await lane.job(1)
    const janitor = janitorOf(lane)
    await lane.client.zadd(lane.keys.driven, 1, job.job)
    await lane.client.zadd(lane.keys.due, 1, job.job)
    await janitor.runOnce()
    // A chunk that had been handed out stays on the stage of a code version that nobody runs any more.
    await lane.client.lpush(lane.codeKeys().stage, chunkOf(job, { first: 9 }))
    await lane.client.zadd(lane.codeKeys().ready, 1, job.job)
    await until(async () => (await lane.client.exists(lane.keysOf(job.job).part)) === 0, { what: 'the record expires' })
    expect(await janitor.runOnce()).toEqual({ ...nothing, forgotten: 1 })
    expect(
      await lane.client.exists(lane.keysOf(job.job).part, lane.keysOf(job.job).chunks, lane.codeKeys().stage),
    ).toBe(0)
    for (const key of [lane.keys.jobs, lane.codeKeys().ready])
      expect(await lane.client.zrange(key, 0, '-1')).toEqual([stays.job])
    expect(await lane.client.exists(lane.keys.due)).toBe(0)
  })

  test('is found among any number of living ones, a part of them each run', async () => {
    const lane = redis.lane()
    for (let i = 0; i < 150; i++) await lane.job(1, { id: `j${i}` })
    await lane.client.del(lane.keysOf('j3').part, lane.keysOf('j140').part)
    const janitor = janitorOf(lane)
    let forgotten = 0
    for (let run = 0; run < 4; run++) forgotten += (await janitor.runOnce()).forgotten
    expect(forgotten).toBe(2)
    expect(await lane.client.zcard(lane.keys.jobs)).toBe(148)
  })

  test('a cancelled job is not forgotten before its mark expires', async () => {
    const lane = redis.lane()
    const job = await lane.job(1)
    await lane.parts.drop({ ...job, collector: '' })
    await lane.client.zadd(lane.keys.jobs, 1, job.job)
    expect(await janitorOf(lane).runOnce()).toEqual(nothing)
    expect((await lane.record(job)).state).toBe('cancelled')
  })
})

describe('a job that is driven by nobody', () => {
  test.each(['ready', 'due'] as const)('is put back in line when %s is lost', async lost => {
    const lane = redis.lane()
    const job = await lane.job(lost === 'ready' ? 1 : 0)
    await lane.client.zadd(lane.keysOf(job.job).delayed, 7000, chunkOf(job, { first: 0, attempt: 2 }))
    await lane.client.del(lane.codeKeys().ready, lane.keys.due)
    await janitorOf(lane).runOnce()
    expect(await lane.client.zscore(lane.keys.due, job.job)).toBe('7000')
    expect(await lane.client.exists(lane.codeKeys().ready)).toBe(lost === 'ready' ? 1 : 0)
  })

  test('keeps the time at which it is due', async () => {
    const lane = redis.lane()
    const job = await lane.job(1)
    await lane.client.zadd(lane.keysOf(job.job).delayed, 7000, chunkOf(job, { first: 0, attempt: 2 }))
    await lane.client.zadd(lane.keys.due, 6000, job.job)
    const before = await lane.everything()
    await janitorOf(lane).runOnce()
    expect(await lane.everything()).toEqual(before)
  })
})

test('a chunk that arrives in a claim after that has ended runs elsewhere', async () => {
  const lane = redis.lane()
  await lane.join('w', ['a', 'b'])
  const job = await lane.job(1)
  await lane.members.retireClaim('w', 'a', 'c0de')
  // A proxy held up the BLMOVE of a connection that is long gone.
  await lane.client.del(lane.keysOf(job.job).chunks)
  await lane.client.hset(lane.keysOf(job.job).part, 'waiting', 0)
  await lane.client.lpush(lane.codeKeys().stage, chunkOf(job, { first: 0 }))
  await lane.claims.blockingClaim('a', 'c0de', 10)
  expect(spans(await lane.held('a'))).toEqual(['0+1'])
  expect(await janitorOf(lane).runOnce()).toEqual({ ...nothing, rescued: 1 })
  expect(await lane.waitingChunks(job)).toMatchObject([{ first: 0, deaths: 0 }])
  expect((await lane.record(job)).waiting).toBe(1)
  expect(await lane.held('a')).toEqual([])
})

test('the quarantine keeps its newest entries', async () => {
  const lane = redis.lane()
  const entries: string[] = []
  for (let i = 0; i < 300; i++)
    entries.push(`job:${i}`, `${JSON.stringify({ at: 1000 + i, worker: 'w', evidence: [] })}\nchunk`)
  await lane.client.hset(lane.keys.quarantine, ...entries)
  expect(await janitorOf(lane).runOnce()).toEqual({ ...nothing, pruned: 44 })
  expect(
    await lane.client
      .hmget(lane.keys.quarantine, 'job:43', 'job:44')
      .then(values => values.map(value => value !== null)),
  ).toEqual([false, true])
  expect(await janitorOf(lane).runOnce()).toEqual(nothing)
})
