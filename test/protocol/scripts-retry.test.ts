import { describe, expect, test } from 'vitest'
import { chunkOf, useRedis } from '../store/support/lane.ts'
import type { TestJob, TestLane } from '../store/support/lane.ts'

const redis = useRedis()

/** A job of three tasks, the second of which has been quarantined; the others are done. */
async function quarantined(options: { detached?: boolean } = {}): Promise<{ lane: TestLane; job: TestJob }> {
  const lane = redis.lane()
  await lane.join('w', ['a', 'b'])
  const job = await lane.job(3, options)
  await lane.take('w', 'a')
  await lane.take('w', 'b')
  await lane.finish(job, 'a', await lane.held('a'))
  await lane.take('w', 'a')
  await lane.finish(job, 'a', await lane.held('a'))
  await lane.client.del(lane.claimKey('b'))
  await lane.client.lpush(lane.claimKey('b'), chunkOf(job, { first: 1, deaths: 3 }))
  await lane.killWorker('w')
  const death = { worker: 'w', maxDeaths: 3, failure: Buffer.from('failure'), evidence: '{"at":1}' }
  const reply = await lane.claims.giveBackOfDead(job.job, job.hash, 'b', death)
  if (reply.quarantined !== 1) throw new Error('the task should be in quarantine')
  return { lane, job }
}

describe('retryQuarantined', () => {
  test('takes the failure back and puts the task in line, with no death to its name', async () => {
    const { lane, job } = await quarantined()
    expect(await lane.record(job)).toMatchObject({ settled: 3, failed: 1, waiting: 0 })
    expect(await lane.upkeep.retryQuarantined(job, 1)).toBe('retried')
    expect(await lane.record(job)).toMatchObject({ settled: 2, failed: 0, waiting: 1 })
    expect(await lane.waitingChunks(job)).toMatchObject([{ first: 1, count: 1, deaths: 0, attempt: 1 }])
    expect(Object.keys(await lane.results(job)).sort()).toEqual(['0', '2'])
    expect(await lane.client.hlen(lane.keys.quarantine)).toBe(0)
    // It is in the queue, and runs like any other.
    await lane.join('w2', ['c'])
    await lane.take('w2', 'c')
    await lane.finish(job, 'c', await lane.held('c'))
    expect(await lane.record(job)).toMatchObject({ settled: 3, failed: 0, waiting: 0 })
  })

  test('does so once, however often it is called', async () => {
    const { lane, job } = await quarantined()
    expect(await lane.upkeep.retryQuarantined(job, 1)).toBe('retried')
    const before = await lane.everything()
    expect(await lane.upkeep.retryQuarantined(job, 1)).toBe('unknown')
    expect(await lane.upkeep.retryQuarantined(job, 0)).toBe('unknown')
    expect(await lane.everything()).toEqual(before)
  })

  test('refuses, and changes nothing, when somebody has or may have seen the failure', async () => {
    const { lane, job } = await quarantined()
    const attached = { ...job, collector: 'another' }
    await lane.parts.attach(job.job, 'another', 60_000, job.hash)
    const before = await lane.everything()
    // It was not listening when it was asked, and has been replaced since.
    expect(await lane.upkeep.retryQuarantined(job, 1)).toBe('collected')
    expect(await lane.everything()).toEqual(before)
    await lane.parts.release(attached, { runs: [{ first: 1, count: 1 }] })
    expect(await lane.upkeep.retryQuarantined(attached, 1)).toBe('collected')
    expect(await lane.record(job)).toMatchObject({ settled: 3, failed: 1, waiting: 0 })
  })

  test('refuses for a job that is gone, cancelled or begun anew', async () => {
    const { lane, job } = await quarantined()
    await lane.parts.drop({ ...job, collector: '' })
    expect(await lane.upkeep.retryQuarantined(job, 1)).toBe('gone')
    const again = await lane.job(3, { id: job.job })
    expect(await lane.upkeep.retryQuarantined(again, 1)).toBe('gone')
    await lane.client.del(lane.keysOf(job.job).part)
    expect(await lane.upkeep.retryQuarantined(job, 1)).toBe('gone')
  })

  test('in a parked job waits with the rest, and expires with it', async () => {
    const { lane, job } = await quarantined()
    await lane.client.zadd(lane.keys.driven, 1, job.job)
    await lane.upkeep.park(job.job, job.hash)
    expect(await lane.upkeep.retryQuarantined(job, 1)).toBe('retried')
    const { part, chunks } = lane.keysOf(job.job)
    expect(await lane.client.pexpiretime(chunks)).toBe(await lane.client.pexpiretime(part))
    expect(await lane.client.zscore(lane.codeKeys().ready, job.job)).toBeNull()
  })

  test('in a detached job that had ended takes the expiry of all its keys away, until it ends again', async () => {
    const { lane, job } = await quarantined({ detached: true })
    const { part, payloads, shared } = lane.keysOf(job.job)
    const at = await lane.client.pexpiretime(part)
    expect(at).toBeGreaterThan(0)
    await lane.client.hset(payloads, 'r:large', 'results')
    await lane.client.set(shared, 'value')
    for (const key of [payloads, shared]) await lane.client.pexpireat(key, at)
    expect(await lane.upkeep.retryQuarantined(job, 1)).toBe('retried')
    const keys = (await lane.allKeys()).filter(key => key.startsWith(part))
    expect(keys).toHaveLength(5)
    for (const key of keys) expect(await lane.client.pttl(key), key).toBe(-1)
    await lane.join('w2', ['c'])
    await lane.take('w2', 'c')
    await lane.finish(job, 'c', await lane.held('c'))
    for (const key of [part, payloads, shared]) expect(await lane.client.pttl(key), key).toBeGreaterThan(0)
  })

  test('takes nothing for a chunk that is none, or is of another task', async () => {
    const { lane, job } = await quarantined()
    for (const entry of [
      '',
      '{}',
      '{}\n',
      '{}\nrubbish',
      Buffer.concat([Buffer.from('{}\n'), chunkOf(job, { first: 2 })]),
    ]) {
      await lane.client.hset(lane.keys.quarantine, `${job.job}:1`, entry)
      expect(await lane.upkeep.retryQuarantined(job, 1)).toBe('unknown')
    }
  })
})
