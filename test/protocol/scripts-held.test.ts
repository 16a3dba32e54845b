import { describe, expect, test } from 'vitest'
import { encodeChunk, payloadField, submittedChunk } from '../../src/protocol/chunk.ts'
import type { ChunkHeader } from '../../src/protocol/chunk.ts'
import { decodeQuarantined } from '../../src/protocol/evidence.ts'
import { collectorChannel } from '../../src/protocol/keys.ts'
import { decodeCollectorMessage } from '../../src/protocol/run.ts'
import type { ResultsMessage } from '../../src/protocol/run.ts'
import { replyCode } from '../../src/store/reply-error.ts'
import { driverLeaseMs, plainFields, spans, useRedis } from '../store/support/lane.ts'
import type { TestJob, TestLane } from '../store/support/lane.ts'

/**
 * Large payloads and results, which lie beside the List and the results: a payload is there as long as its task is not
 * settled, a result until it is released, and neither for longer.
 */
const redis = useRedis()

const payloadOf = (first: number) => Buffer.alloc(100_000, first + 1)

function heldChunks(part: TestJob, from: number, to: number) {
  return Array.from({ length: to - from }, (_, i) => submittedChunk(headerOf(part, from + i), payloadOf(from + i)))
}

function headerOf({ job, incarnation }: TestJob, first: number): ChunkHeader {
  const rest = { count: 1, base: first, attempt: 1, deaths: 0, kind: 'pack', flags: 'plain', task: 'square' } as const
  return { job, incarnation, first, ...rest }
}

function batchOf(part: TestJob, from: number, to: number) {
  const chunks = heldChunks(part, from, to)
  const elements = chunks.map(({ element }) => element)
  return {
    from,
    to,
    skipped: 0,
    taskless: 0,
    complete: false,
    elements,
    held: chunks.flatMap(({ held }) => held ?? []),
    driverLeaseMs,
  }
}

/** A job of held chunks, and a worker with the claims `a` and `b`. */
async function heldJob(tasks: number) {
  const lane = redis.lane()
  const part = await lane.job(0, { complete: false })
  await lane.parts.submit(part, batchOf(part, 0, tasks))
  await lane.join('w', ['a', 'b'])
  return { lane, part }
}

const heldIn = async (lane: TestLane, { job }: TestJob) =>
  (await lane.client.hkeys(lane.keysOf(job).payloads)).map(field => Number(field.split(':')[1])).sort()

const whole = { attempt: 1, done: 1 } as const
const runOf = (first: number) => ({ first, count: 1, kind: 'values' as const, bytes: Buffer.from('result') })
const death = { worker: 'mortal', maxDeaths: 3, failure: Buffer.from('failure'), evidence: '{"at":1}' }

describe('a large payload of one task', () => {
  test('is not in the element, which says where it lies', () => {
    const part = { job: 'j', incarnation: 'inc', collector: 'c', hash: 'h' }
    const { element, held } = submittedChunk(headerOf(part, 7), payloadOf(7))
    expect(element.toString()).toBe('j inc 7 1 7 1 0 held plain square\n100000')
    expect(held).toEqual({ field: 'inc:7', payload: payloadOf(7) })
    const pair = { ...headerOf(part, 7), count: 2 }
    expect(submittedChunk(pair, payloadOf(7))).toEqual({ element: encodeChunk(pair, payloadOf(7)) })
    expect(submittedChunk(headerOf(part, 7), Buffer.alloc(1000)).held).toBeUndefined()
  })

  test('is stored by the submit that puts its chunk in line, and by none that is refused', async () => {
    const { lane, part } = await heldJob(2)
    expect(await heldIn(lane, part)).toEqual([0, 1])
    expect(await lane.claims.readPayload(headerOf(part, 1))).toEqual(payloadOf(1))
    const before = await lane.everything()
    expect(await lane.parts.submit(part, batchOf(part, 5, 6))).toMatchObject({ word: 'out of step' })
    expect(await lane.parts.submit({ ...part, collector: 'old' }, batchOf(part, 2, 3))).toMatchObject({
      word: 'replaced',
    })
    expect(await lane.parts.submit({ ...part, incarnation: 'old' }, batchOf(part, 2, 3))).toMatchObject({
      word: 'conflict',
    })
    const gone = { ...part, job: 'gone' }
    expect(await lane.parts.submit(gone, batchOf(gone, 0, 1))).toMatchObject({ word: 'gone' })
    expect(await lane.everything()).toEqual(before)
  })

  test('comes along with the submit that creates the part, and its shared value', async () => {
    const lane = redis.lane()
    const part = { job: 'new', incarnation: 'inc', collector: 'c', hash: 'c0de' }
    const create = { ...plainFields, shared: true }
    await lane.parts.submit(part, { ...batchOf(part, 0, 2), create, shared: Buffer.from('shared') })
    expect(await heldIn(lane, part)).toEqual([0, 1])
    expect(spans(await lane.waitingChunks(part))).toEqual(['0+1', '1+1'])
    expect(await lane.parts.readShared('new')).toEqual(Buffer.from('shared'))
  })

  test('counts for how much a claim takes', async () => {
    const { lane, part } = await heldJob(30)
    await lane.client.hset(lane.keysOf(part.job).part, 'pace', 1000)
    // At most a million bytes, in chunks of a hundred thousand.
    expect((await lane.take('w', 'a', { mostChunks: 64 })).chunks).toHaveLength(10)
  })

  test('goes with the commit that settles its task', async () => {
    const { lane, part } = await heldJob(2)
    await lane.take('w', 'a')
    const commit = { chunks: [{ first: 0, ...whole }], runs: [runOf(0)], retries: [], paceNs: 0 }
    expect(await lane.claims.settle(part, 'b', commit)).toMatchObject({ word: 'fenced' })
    expect(await heldIn(lane, part)).toEqual([0, 1])
    expect(await lane.claims.settle(part, 'a', commit)).toMatchObject({ word: 'committed' })
    expect(await heldIn(lane, part)).toEqual([1])
  })

  test('stays for a retry, waiting or delayed, and goes with the commit of that', async () => {
    const { lane, part } = await heldJob(2)
    for (const [first, delayMs] of [0, 60_000].entries()) {
      await lane.take('w', 'a')
      const element = encodeChunk({ ...headerOf(part, first), kind: 'held', attempt: 2 }, Buffer.from('100000'))
      const chunks = [{ first, ...whole }]
      await lane.claims.settle(part, 'a', { chunks, runs: [], retries: [{ delayMs, element }], paceNs: 0 })
      expect(await heldIn(lane, part)).toEqual([0, 1].slice(first === 0 ? 0 : 1))
      if (first === 1) continue
      await lane.take('w', 'a')
      const again = [{ first, ...whole, attempt: 2 }]
      await lane.claims.settle(part, 'a', { chunks: again, runs: [runOf(first)], retries: [], paceNs: 0 })
      expect(await heldIn(lane, part)).toEqual([1])
    }
    expect(await lane.parts.cancelTask(part, 1, Buffer.from('cancelled'))).toBe('cancelled')
    expect(await heldIn(lane, part)).toEqual([])
  })

  test('stays when its chunk is handed back, and goes when its task is cancelled', async () => {
    const { lane, part } = await heldJob(2)
    await lane.take('w', 'a')
    await lane.claims.giveBack(part.job, part.hash, 'a')
    expect(await heldIn(lane, part)).toEqual([0, 1])
    expect(await lane.parts.cancelTask(part, 0, Buffer.from('cancelled'))).toBe('cancelled')
    expect(await heldIn(lane, part)).toEqual([1])
  })

  test('goes along into quarantine, and back in line', async () => {
    const { lane, part } = await heldJob(1)
    await lane.join('mortal', ['m'])
    await lane.client.lpush(
      lane.claimKey('m'),
      encodeChunk({ ...headerOf(part, 0), kind: 'held', deaths: 3 }, Buffer.from('100000')),
    )
    await lane.killWorker('mortal')
    expect(await lane.claims.giveBackOfDead(part.job, part.hash, 'm', death)).toMatchObject({ quarantined: 1 })
    expect(await heldIn(lane, part)).toEqual([])
    const [[field, entry] = ['', Buffer.alloc(0)]] = Object.entries(
      await lane.client.hgetallBuffer(lane.keys.quarantine),
    )
    expect(decodeQuarantined(field, entry).chunk).toMatchObject({
      header: { kind: 'pack', first: 0, base: 0, deaths: 0 },
      payload: payloadOf(0),
    })
    await lane.client.del(lane.keysOf(part.job).chunks)
    expect(await lane.upkeep.retryQuarantined(part, 0)).toBe('retried')
    const [element] = await lane.client.lrangeBuffer(lane.keysOf(part.job).chunks, 0, -1)
    expect(element).toEqual(encodeChunk(headerOf(part, 0), payloadOf(0)))
  })

  test('that is gone has its chunk set aside, where it would be given out for ever', async () => {
    const { lane, part } = await heldJob(2)
    await lane.take('w', 'a')
    await lane.client.hdel(lane.keysOf(part.job).payloads, payloadField(headerOf(part, 0)))
    expect(await lane.claims.giveBack(part.job, part.hash, 'a')).toMatchObject({ returned: 0, left: 0 })
    expect(spans(await lane.waitingChunks(part))).toEqual(['1+1'])
    expect(await lane.record(part)).toMatchObject({ waiting: 1 })
    expect(await lane.client.lrange(lane.keys.malformed, 0, -1)).toEqual([
      expect.stringMatching(/ held plain square\n/),
    ])
  })

  test('has the life of its part', async () => {
    const { lane, part } = await heldJob(2)
    const { payloads } = lane.keysOf(part.job)
    await lane.client.zadd(lane.keys.driven, 1, part.job)
    await lane.upkeep.park(part.job, part.hash)
    expect(await lane.client.pexpiretime(payloads)).toBe(await lane.client.pexpiretime(lane.keysOf(part.job).part))
    expect(await lane.client.pttl(payloads)).toBeGreaterThan(0)
    await lane.parts.attach(part.job, part.collector, driverLeaseMs, part.hash)
    expect(await lane.client.pttl(payloads)).toBe(-1)
    await lane.client.rename(lane.keysOf(part.job).part, lane.keysOf('other').part)
    expect(await lane.upkeep.forget(part.job, part.hash)).toBe('forgotten')
    expect(await lane.client.exists(payloads)).toBe(0)
  })

  test('goes when its job is dropped', async () => {
    const { lane, part } = await heldJob(2)
    await lane.parts.drop(part)
    expect(await lane.client.exists(lane.keysOf(part.job).payloads)).toBe(0)
  })
})

describe('a large result', () => {
  const large = (first: number, count = 1) => ({
    first,
    count,
    kind: 'values' as const,
    bytes: Buffer.alloc(200_000, first + 1),
  })
  const commitOf = (...runs: ReturnType<typeof large>[]) => {
    const chunks = runs.map(({ first, count }) => ({ first, attempt: 1, done: count }))
    return { chunks, runs, retries: [], paceNs: 0 }
  }
  /** A job of two small chunks, which claim `a` holds. */
  async function claimedJob() {
    const lane = redis.lane()
    const part = await lane.job(2)
    await lane.join('w', ['a', 'b'])
    await lane.take('w', 'a')
    await lane.take('w', 'a')
    return { lane, part }
  }
  const payloadsOf = (lane: TestLane, { job }: TestJob) => lane.client.hgetallBuffer(lane.keysOf(job).payloads)
  const runsOf = async (lane: TestLane, { job }: TestJob) => (await lane.parts.scanResults(job, '0')).runs

  test('lies among the payloads, and the Hash says where', async () => {
    const { lane, part } = await claimedJob()
    expect(await lane.claims.settle(part, 'a', commitOf(large(0), large(1)))).toMatchObject({ word: 'committed' })
    const payloads = await payloadsOf(lane, part)
    expect(Object.keys(payloads)).toHaveLength(2)
    const runs = [...(await runsOf(lane, part))].sort((a, b) => a.first - b.first)
    expect(runs).toMatchObject([
      { first: 0, count: 1, kind: 'values', valueBytes: 200_000 },
      { first: 1, count: 1, kind: 'values', valueBytes: 200_000 },
    ])
    expect(runs.map(({ held }) => held).sort()).toEqual(Object.keys(payloads).sort())
    expect(await lane.parts.readResults(part.job, runs)).toEqual([large(0).bytes, large(1).bytes])
  })

  test('that is gone is no result any more', async () => {
    const { lane, part } = await claimedJob()
    await lane.claims.settle(part, 'a', commitOf(large(0), large(1)))
    const [one, two] = await runsOf(lane, part)
    await lane.client.hdel(lane.keysOf(part.job).payloads, one!.held!)
    expect(await runsOf(lane, part)).toEqual([two])
    await lane.client.del(lane.keysOf(part.job).payloads)
    expect(await runsOf(lane, part)).toEqual([])
  })

  test('is told to the collector with where it is', async () => {
    const { lane, part } = await claimedJob()
    const subscriber = redis.open()
    const heard: Buffer[] = []
    subscriber.on('messageBuffer', (_channel: Buffer, message: Buffer) => heard.push(message))
    await subscriber.subscribe(collectorChannel(lane.lane.namespace, 'default', part.collector))
    await lane.claims.settle(part, 'a', commitOf(large(1)))
    await expect.poll(() => heard.length).toBe(1)
    const { unread } = decodeCollectorMessage(heard[0]!) as ResultsMessage
    expect(unread).toEqual(await runsOf(lane, part))
  })

  test('goes with the release of its run, and with its job', async () => {
    const { lane, part } = await claimedJob()
    await lane.claims.settle(part, 'a', commitOf(large(0), large(1)))
    const [one, two] = await runsOf(lane, part)
    await lane.parts.release(part, { runs: [one!] })
    expect(Object.keys(await payloadsOf(lane, part))).toEqual([two!.held])
    expect(await lane.record(part)).toMatchObject({ released: 1 })
    await lane.parts.drop(part)
    expect((await lane.allKeys()).filter(key => key.includes(part.job))).toEqual([])
  })

  test('leaves nothing when its commit is refused, and a commit that is sent again does not touch the first', async () => {
    const { lane, part } = await claimedJob()
    const before = await lane.everything()
    expect(await lane.claims.settle(part, 'b', commitOf(large(0)))).toMatchObject({ word: 'fenced' })
    expect(await lane.everything()).toEqual(before)
    await lane.claims.settle(part, 'a', commitOf(large(0)))
    const after = await lane.everything()
    expect(await lane.claims.settle(part, 'a', commitOf(large(0)))).toMatchObject({ word: 'fenced' })
    expect(await lane.everything()).toEqual(after)
    const old = { ...part, incarnation: 'former' }
    await lane.client.lpush(lane.claimKey('b'), encodeChunk(headerOf(old, 0), Buffer.alloc(3)))
    expect(await lane.claims.settle(old, 'b', commitOf(large(0)))).toMatchObject({ word: 'discarded' })
    expect(Object.keys(await payloadsOf(lane, part))).toHaveLength(1)
  })

  test('is taken where Redis has forgotten its scripts', async () => {
    const { lane, part } = await claimedJob()
    await lane.client.script('FLUSH')
    expect(await lane.claims.settle(part, 'a', commitOf(large(0)))).toMatchObject({ word: 'committed' })
    expect(Object.keys(await payloadsOf(lane, part))).toHaveLength(1)
    await lane.client.script('FLUSH')
    expect(await lane.parts.submit({ ...part, collector: 'old' }, batchOf(part, 2, 3))).toMatchObject({
      word: 'replaced',
    })
    expect(Object.keys(await payloadsOf(lane, part))).toHaveLength(1)
  })

  test('is taken while somebody has Redis forget its scripts all the time', async () => {
    const { lane, part } = await claimedJob()
    const other = redis.open()
    const stop = new AbortController()
    const flushing = (async () => {
      while (!stop.signal.aborted) await Promise.all(Array.from({ length: 50 }, () => other.script('FLUSH')))
    })()
    try {
      for (let first = 2; first < 60; first++)
        expect(await lane.parts.submit(part, batchOf(part, first, first + 1))).toMatchObject({ word: 'submitted' })
      expect(await lane.claims.settle(part, 'a', commitOf(large(0)))).toMatchObject({ word: 'committed' })
    } finally {
      stop.abort()
      await flushing
    }
  })

  test('is taken by a full Redis too, and a large payload is refused whole', async () => {
    const { lane, part } = await claimedJob()
    const open = await lane.job(0, { complete: false })
    await lane.client.config('SET', 'maxmemory', '1mb')
    try {
      expect(await lane.claims.settle(part, 'a', commitOf(large(0)))).toMatchObject({ word: 'committed' })
      const refused: unknown = await lane.parts.submit(open, batchOf(open, 0, 1)).catch((error: unknown) => error)
      expect(replyCode(refused)).toBe('OOM')
    } finally {
      await lane.client.config('SET', 'maxmemory', '0')
    }
    expect(await lane.client.exists(lane.keysOf(open.job).payloads)).toBe(0)
    const runs = await runsOf(lane, part)
    expect(runs).toMatchObject([{ first: 0, count: 1, kind: 'values' }])
    expect(runs[0]!.held).toBeUndefined()
  })

  test('has the life of its part', async () => {
    const { lane, part } = await claimedJob()
    const { part: record, payloads } = lane.keysOf(part.job)
    await lane.client.hset(record, 'detached', 1)
    await lane.claims.settle(part, 'a', commitOf(large(0), large(1)))
    expect(await lane.client.pexpiretime(record)).toBeGreaterThan(0)
    expect(await lane.client.pexpiretime(payloads)).toBe(await lane.client.pexpiretime(record))
    const parked = await claimedJob()
    const keys = parked.lane.keysOf(parked.part.job)
    await parked.lane.client.zadd(parked.lane.keys.driven, 1, parked.part.job)
    await parked.lane.upkeep.park(parked.part.job, parked.part.hash)
    await parked.lane.claims.settle(parked.part, 'a', commitOf(large(0)))
    expect(await parked.lane.client.pexpiretime(keys.payloads)).toBe(await parked.lane.client.pexpiretime(keys.part))
  })
})

test('where something else stands in the place of the payloads nothing is accepted, and the next attempt finds it cleared', async () => {
  const { lane, part } = await heldJob(0)
  const { payloads } = lane.keysOf(part.job)
  await lane.client.set(payloads, 'foreign')
  await expect(lane.parts.submit(part, batchOf(part, 0, 1))).rejects.toThrow(/^WRONGTYPE/)
  expect(await lane.record(part)).toMatchObject({ submitted: 0, waiting: 0 })
  expect(await lane.parts.submit(part, batchOf(part, 0, 1))).toMatchObject({ word: 'submitted' })
  await lane.take('w', 'a')
  await lane.client.set(payloads, 'foreign')
  const bytes = Buffer.alloc(200_000)
  const commit = { chunks: [{ first: 0, ...whole }], runs: [{ ...runOf(0), bytes }], retries: [], paceNs: 0 }
  await expect(lane.claims.settle(part, 'a', commit)).rejects.toThrow(/^WRONGTYPE/)
  expect(await lane.record(part)).toMatchObject({ settled: 0 })
  expect(await lane.claims.settle(part, 'a', commit)).toMatchObject({ word: 'committed' })
  expect((await lane.parts.scanResults(part.job, '0')).runs).toHaveLength(1)
})

test('a submit that is sent again leaves the payloads of what is settled alone, and of what waits in place', async () => {
  const { lane, part } = await heldJob(2)
  await lane.take('w', 'a')
  await lane.claims.settle(part, 'a', { chunks: [{ first: 0, ...whole }], runs: [runOf(0)], retries: [], paceNs: 0 })
  expect(await lane.parts.submit(part, batchOf(part, 0, 2))).toMatchObject({ word: 'out of step', submitted: 2 })
  expect(await lane.claims.readPayload(headerOf(part, 1))).toEqual(payloadOf(1))
})

test('a held chunk of several tasks is none', async () => {
  const { lane, part } = await heldJob(0)
  await lane.client.lpush(
    lane.keysOf(part.job).chunks,
    encodeChunk({ ...headerOf(part, 0), kind: 'held', count: 2 }, Buffer.from('100000')),
  )
  await lane.parts.submit(part, batchOf(part, 0, 1))
  expect(spans((await lane.take('w', 'a')).chunks)).toEqual(['0+1'])
  expect(await lane.client.llen(lane.keys.malformed)).toBe(1)
})
