import { describe, expect, test } from 'vitest'
import { collectorChannel } from '../../src/protocol/keys.ts'
import { decodeCollectorMessage } from '../../src/protocol/run.ts'
import { chunkOf, spans, useRedis } from '../store/support/lane.ts'
import type { TestJob, TestLane } from '../store/support/lane.ts'

const redis = useRedis()
const death = { worker: 'w', maxDeaths: 3, failure: Buffer.from('failure'), evidence: 'evidence' }

async function laneWithWorker(): Promise<TestLane> {
  const lane = redis.lane()
  await lane.join('w', ['a', 'b'])
  return lane
}

/** Puts chunks into a claim as if they had been taken. */
async function hold(
  lane: TestLane,
  claim: string,
  job: TestJob,
  ...chunks: Parameters<typeof chunkOf>[1][]
): Promise<void> {
  for (const chunk of chunks) await lane.client.lpush(lane.claimKey(claim), chunkOf(job, chunk))
}

describe('giveBack', () => {
  test('returns chunks as they are to the front of the line, in their order', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(4)
    for (let i = 0; i < 3; i++) await lane.take('w', 'a')
    expect(await lane.claims.giveBack(job.job, job.hash, 'a')).toEqual({
      word: 'returned',
      returned: 3,
      quarantined: 0,
      left: 0,
    })
    expect(spans(await lane.waitingChunks(job))).toEqual(['0+1', '1+1', '2+1', '3+1'])
    expect(await lane.waitingChunks(job)).toMatchObject([{ deaths: 0 }, { deaths: 0 }, { deaths: 0 }, { deaths: 0 }])
    expect((await lane.record(job)).waiting).toBe(4)
  })

  test('keeps what the caller still runs, and other jobs’ chunks', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(2)
    const other = await lane.job(1)
    for (let i = 0; i < 3; i++) await lane.take('w', 'a')
    expect(await lane.claims.giveBack(job.job, job.hash, 'a', [{ first: 1, attempt: 1 }])).toMatchObject({
      returned: 1,
      left: 2,
    })
    expect((await lane.held('a')).map(chunk => chunk.job).sort()).toEqual([job.job, other.job].sort())
  })

  test('returns at most 64 chunks a call and says how many are left', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(100)
    for (let i = 0; i < 100; i++) await lane.take('w', 'a')
    expect(await lane.claims.giveBack(job.job, job.hash, 'a')).toMatchObject({ returned: 64, left: 36 })
    expect(await lane.claims.giveBack(job.job, job.hash, 'a')).toMatchObject({ returned: 36, left: 0 })
    expect((await lane.record(job)).waiting).toBe(100)
  })

  test('drops chunks of a former incarnation or of a job that is gone', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(1, { id: 'x' })
    await hold(lane, 'a', { ...job, incarnation: 'former' }, { first: 5 })
    await hold(lane, 'a', { ...job, job: 'nowhere' }, { first: 6 })
    expect(await lane.claims.giveBack('x', job.hash, 'a')).toMatchObject({ returned: 0, left: 1 })
    expect(await lane.claims.giveBack('nowhere', 'gone', 'a')).toMatchObject({ returned: 0, left: 0 })
    expect(spans(await lane.waitingChunks(job))).toEqual(['0+1'])
    expect(await lane.client.exists(lane.keysOf('nowhere').part, lane.keysOf('nowhere').chunks)).toBe(0)
  })

  test('sets malformed elements aside, whichever job it is for', async () => {
    const lane = await laneWithWorker()
    await lane.client.rpush(lane.claimKey('a'), 'rubbish', '')
    expect(await lane.claims.giveBack('', 'gone', 'a')).toMatchObject({ returned: 0, left: 0 })
    expect(await lane.client.llen(lane.keys.malformed)).toBe(2)
  })

  test('offers what it returns to a thread that waits', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(2)
    await lane.take('w', 'a')
    await lane.take('w', 'a')
    await lane.take('w', 'b', { waitMs: 5000 })
    await lane.claims.giveBack(job.job, job.hash, 'a')
    expect(spans(await lane.staged())).toEqual(['0+1'])
    expect(spans(await lane.waitingChunks(job))).toEqual(['1+1'])
    expect((await lane.record(job)).waiting).toBe(1)
  })
})

describe('giveBack after a death', () => {
  test('takes nothing from a worker that lives', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(1)
    await lane.take('w', 'a')
    const before = await lane.everything()
    expect((await lane.claims.giveBackOfDead(job.job, job.hash, 'a', death)).word).toBe('alive')
    expect(await lane.everything()).toEqual(before)
  })

  test('takes nothing from a worker that registered again', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(1)
    await lane.take('w', 'a')
    await lane.killWorker('w')
    await lane.join('w', ['a'])
    expect((await lane.claims.giveBackOfDead(job.job, job.hash, 'a', death)).word).toBe('alive')
  })

  test('halves chunks and makes suspects of them', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(12, { complete: false })
    await lane.client.del(lane.keysOf(job.job).chunks)
    await hold(lane, 'a', job, { first: 0, count: 5 }, { first: 5, count: 1 }, { first: 6, count: 6, base: 2 })
    await lane.killWorker('w')
    expect(await lane.claims.giveBackOfDead(job.job, job.hash, 'a', death)).toMatchObject({
      returned: 3,
      quarantined: 0,
      left: 0,
    })
    const back = await lane.waitingChunks(job)
    expect(spans(back)).toEqual(['0+3', '3+2', '5+1', '6+3', '9+3'])
    expect(back.map(({ deaths }) => deaths)).toEqual([1, 1, 1, 1, 1])
    expect(back.map(({ base }) => base)).toEqual([0, 0, 5, 2, 2])
  })

  const charges: readonly [name: string, chunks: Parameters<typeof chunkOf>[1][], deaths: number[]][] = [
    ['a clean task that was alone is suspected, not charged', [{ first: 0 }], [1]],
    ['a suspect that was alone is charged', [{ first: 0, deaths: 1 }], [2]],
    ['a suspect that was not alone is not charged', [{ first: 0, deaths: 1 }, { first: 1 }], [1, 1]],
    ['a suspect of several tasks is halved again and not charged', [{ first: 0, count: 2, deaths: 1 }], [1, 1]],
    ['a task with one certain death that was alone has two', [{ first: 0, deaths: 2 }], [3]],
  ]
  test.each(charges)('%s', async (_name, chunks, deaths) => {
    const lane = await laneWithWorker()
    const job = await lane.job(2, { complete: false })
    await lane.client.del(lane.keysOf(job.job).chunks)
    await hold(lane, 'a', job, ...chunks)
    await lane.killWorker('w')
    await lane.claims.giveBackOfDead(job.job, job.hash, 'a', death)
    expect((await lane.waitingChunks(job)).map(chunk => chunk.deaths)).toEqual(deaths)
  })

  test('after three certain deaths the task is quarantined: its failure committed, its evidence kept', async () => {
    const lane = redis.lane()
    const job = await lane.job(1)
    const listener = redis.open()
    const heard: Buffer[] = []
    await listener.subscribe(collectorChannel(lane.lane.namespace, 'default', job.collector))
    listener.on('messageBuffer', (_channel: Buffer, message: Buffer) => heard.push(message))
    // The first death only makes it a suspect: it may have had company.
    for (let life = 1; life <= 4; life++) {
      expect((await lane.record(job)).settled).toBe(0)
      const worker = `w${life}`
      await lane.join(worker, [`claim${life}`])
      expect((await lane.take(worker, `claim${life}`)).chunks).toMatchObject([{ deaths: life - 1 }])
      await lane.killWorker(worker)
      const reply = await lane.claims.giveBackOfDead(job.job, job.hash, `claim${life}`, { ...death, worker })
      expect(reply).toMatchObject({ returned: life < 4 ? 1 : 0, quarantined: life < 4 ? 0 : 1 })
    }
    expect(await lane.record(job)).toMatchObject({ settled: 1, failed: 1, waiting: 0 })
    expect(await lane.results(job)).toEqual({ 0: '1 failure\nfailure' })
    const entry = (await lane.client.hget(lane.keys.quarantine, `${job.job}:0`)) ?? ''
    expect(entry).toMatch(/^evidence\njob-1 \w+ 0 1 0 1 0 pack plain square\ninputs/)
    await expect.poll(() => heard).toHaveLength(1)
    expect(decodeCollectorMessage(heard[0] ?? Buffer.alloc(0))).toMatchObject({
      type: 'results',
      settled: 1,
      runs: [{ first: 0, count: 1, kind: 'failure' }],
    })
  })

  test('a quarantine that ends a detached job starts its expiry', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(1, { detached: true })
    await lane.client.del(lane.keysOf(job.job).chunks)
    await hold(lane, 'a', job, { first: 0, deaths: 3 })
    await lane.killWorker('w')
    expect(await lane.claims.giveBackOfDead(job.job, job.hash, 'a', death)).toMatchObject({ quarantined: 1 })
    expect(await lane.client.pttl(lane.keysOf(job.job).part)).toBeGreaterThan(0)
    expect(await lane.client.pttl(lane.keysOf(job.job).results)).toBeGreaterThan(0)
  })
})

describe('split', () => {
  test('hands back the tail and lets the thread go on with the rest', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(10, { complete: false })
    await lane.client.del(lane.keysOf(job.job).chunks)
    await lane.client.hset(lane.keysOf(job.job).part, 'waiting', 0)
    await hold(lane, 'a', job, { first: 0, count: 10 })
    expect(await lane.claims.split(job, 'a', { first: 0, attempt: 1, keep: 3 })).toEqual({ word: 'split', tasks: 7 })
    expect(spans(await lane.held('a'))).toEqual(['0+3'])
    expect(await lane.waitingChunks(job)).toMatchObject([{ first: 3, count: 7, base: 0 }])
    expect((await lane.record(job)).waiting).toBe(7)
    expect((await lane.finish(job, 'a', [{ first: 0, count: 3, attempt: 1 }])).word).toBe('committed')
    expect((await lane.record(job)).settled).toBe(3)
  })

  test('tells what the tasks take at least, so that the tail is not taken whole again', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a', 'b'])
    const job = await lane.job(100, { per: 100 })
    const { part } = lane.keysOf(job.job)
    await lane.client.hset(part, 'pace', 1000)
    await lane.take('w', 'a')
    await lane.claims.split(job, 'a', { first: 0, attempt: 1, keep: 1, paceNs: 50e6 })
    expect(await lane.record(job)).toMatchObject({ pace: 50e6, waiting: 99 })
    expect(spans((await lane.take('w', 'b')).chunks)).toEqual(['1+1'])
    await lane.client.hset(part, 'pace', 60e6)
    await lane.client.lpush(lane.claimKey('a'), chunkOf(job, { first: 50, count: 9 }))
    await lane.claims.split(job, 'a', { first: 50, attempt: 1, keep: 1, paceNs: 50e6 })
    expect(await lane.record(job)).toMatchObject({ pace: 60e6 })
  })

  test('finds nothing to split where the chunk is settled, short or held by another', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(1)
    await hold(lane, 'a', job, { first: 0, count: 2 })
    const before = await lane.everything()
    expect((await lane.claims.split(job, 'b', { first: 0, attempt: 1, keep: 1 })).word).toBe('gone')
    expect((await lane.claims.split(job, 'a', { first: 0, attempt: 2, keep: 1 })).word).toBe('gone')
    expect((await lane.claims.split(job, 'a', { first: 0, attempt: 1, keep: 2 })).word).toBe('gone')
    expect(await lane.everything()).toEqual(before)
  })

  test('leaves the chunk whole where something else stands in place of the List', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(1)
    const { chunks } = lane.keysOf(job.job)
    await hold(lane, 'a', job, { first: 0, count: 4 })
    await lane.client.del(chunks)
    await lane.client.set(chunks, 'garbage')
    await expect(lane.claims.split(job, 'a', { first: 0, attempt: 1, keep: 1 })).rejects.toThrow('WRONGTYPE')
    expect(spans(await lane.held('a'))).toEqual(['0+4'])
    expect((await lane.claims.split(job, 'a', { first: 0, attempt: 1, keep: 1 })).word).toBe('split')
    expect(spans(await lane.waitingChunks(job))).toEqual(['1+3'])
  })

  test('always leaves the task that runs', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(1)
    await hold(lane, 'a', job, { first: 0, count: 2 })
    expect(await lane.claims.split(job, 'a', { first: 0, attempt: 1, keep: 0 })).toEqual({ word: 'split', tasks: 1 })
    expect(spans(await lane.held('a'))).toEqual(['0+1'])
  })

  test('forgets the tail of a job that was dropped', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(1)
    await hold(lane, 'a', job, { first: 0, count: 4 })
    await lane.parts.drop(job)
    expect((await lane.claims.split(job, 'a', { first: 0, attempt: 1, keep: 1 })).word).toBe('split')
    expect(await lane.client.exists(lane.keysOf(job.job).part, lane.keysOf(job.job).chunks)).toBe(0)
  })
})

describe('peekClaim', () => {
  test('tells the header lines, oldest first, without payloads', async () => {
    const lane = await laneWithWorker()
    const job = await lane.job(1)
    await hold(lane, 'a', job, { first: 0 }, { first: 1 })
    await lane.client.lpush(lane.claimKey('a'), 'rubbish')
    const line = (first: number) => `${job.job} ${job.incarnation} ${first} 1 ${first} 1 0 pack plain square`
    expect(await lane.claims.peekClaim('a')).toEqual([line(0), line(1), ''])
    expect(await lane.claims.peekClaim('b')).toEqual([])
  })
})
