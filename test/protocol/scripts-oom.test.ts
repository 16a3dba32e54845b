import { expect, test } from 'vitest'
import { replyCode, refusesWrites } from '../../src/store/reply-error.ts'
import { chunkOf, useRedis } from '../store/support/lane.ts'

const redis = useRedis()

test('at the memory limit only submit is refused: work under way is settled, handed back, collected and renewed', async () => {
  const lane = redis.lane()
  await lane.join('w', ['a', 'b'])
  const job = await lane.job(6)
  await lane.take('w', 'a')
  await lane.client.zadd(lane.keysOf(job.job).delayed, 1, chunkOf(job, { first: 5, attempt: 2 }))
  await lane.client.config('SET', 'maxmemory', '1mb')
  await expect(lane.client.set('other', 'value')).rejects.toThrow(/^OOM/)

  const batch = {
    from: 6,
    to: 7,
    skipped: 0,
    taskless: 0,
    complete: true,
    elements: [chunkOf(job, { first: 6 })],
    driverLeaseMs: 1000,
  }
  const refused: unknown = await lane.parts.submit(job, batch).catch((error: unknown) => error)
  expect(replyCode(refused)).toBe('OOM')
  expect(refusesWrites(refused)).toBe(true)
  expect((await lane.record(job)).submitted).toBe(6)
  // The plain command that a blocked thread uses is refused, which is why it then claims by script.
  const blmove: unknown = await lane.claims.blockingClaim('a', 'c0de', 10).catch((error: unknown) => error)
  expect(replyCode(blmove)).toBe('OOM')

  expect(await lane.members.heartbeat('w', { leaseMs: 60_000, threads: 2, stats: '' })).toBe('renewed')
  expect(await lane.members.enroll('w', 'c')).toBe('enrolled')
  expect((await lane.take('w', 'b', { waitMs: 1000 })).word).toBe('claimed')
  expect((await lane.finish(job, 'a', await lane.held('a'))).word).toBe('committed')
  expect(await lane.claims.giveBack(job.job, job.hash, 'b')).toMatchObject({ returned: 1 })
  expect(await lane.upkeep.promote(job.job, job.hash)).toBe(1)
  expect(await lane.parts.release(job, { runs: [{ first: 0, count: 1 }] })).toBe('released')
  expect(await lane.parts.renewDriver([job.job], 60_000)).toBe(1)
  await lane.take('w', 'a')
  // The test's own preparation is made of plain commands, which are refused now.
  await lane.client.config('SET', 'maxmemory', '0')
  await lane.client.zadd(lane.keys.workers, 1, 'w')
  await lane.pretendReaping(6000)
  await lane.client.config('SET', 'maxmemory', '1mb')
  expect(await lane.members.declareDead(6000)).toEqual(['w'])
  const death = { worker: 'w', maxDeaths: 3, failure: Buffer.from(''), evidence: '' }
  expect(await lane.claims.giveBackOfDead(job.job, job.hash, 'a', death)).toMatchObject({ returned: 1 })
  expect(await lane.parts.attach(job.job, 'newer', 1000, job.hash)).toBeDefined()

  await lane.client.config('SET', 'maxmemory', '0')
  expect((await lane.parts.submit({ ...job, collector: 'newer' }, batch)).word).toBe('submitted')
})
