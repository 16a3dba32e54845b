import { describe, expect, test } from 'vitest'
import { diagnose } from '../../../src/store/inspect/diagnose.ts'
import { explainWait } from '../../../src/store/inspect/explain-wait.ts'
import { readJobs } from '../../../src/store/inspect/jobs.ts'
import { readWorkers } from '../../../src/store/inspect/workers.ts'
import { chunkOf, useRedis } from '../support/lane.ts'

const redis = useRedis()

describe('readWorkers', () => {
  test('lists the living with the time since they were heard of', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'], { leaseMs: 6000, info: { host: 'box', pid: 7, threads: 3, tasks: ['square', 'cube'] } })
    await lane.join('older', ['b'], { leaseMs: 6000 })
    await lane.client.zincrby(lane.keys.workers, -1500, 'older')
    await lane.join('dead', ['c'])
    await lane.killWorker('dead')
    const [first, second, ...rest] = await readWorkers(lane)
    expect(rest).toEqual([])
    expect(first).toMatchObject({ id: 'w', host: 'box', pid: 7, threads: 3, tasks: ['square', 'cube'], hash: 'c0de' })
    expect(first?.lastSeenMs).toBeLessThan(1500)
    expect(second?.id).toBe('older')
    expect(second?.lastSeenMs).toBeGreaterThanOrEqual(1500)
  })

  test('leaves out records that are none', async () => {
    const lane = redis.lane()
    await lane.members.register('odd', { leaseMs: 1000, info: 'not JSON', claims: [] })
    await lane.client.zadd(lane.keys.workers, 9e12, 'without a record')
    expect(await readWorkers(lane)).toEqual([])
  })
})

describe('readJobs', () => {
  test('counts where the tasks of a job are', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'])
    const job = await lane.job(10, { priority: 3 })
    for (let i = 0; i < 4; i++) await lane.take('w', 'a')
    const [first, second] = await lane.held('a')
    if (first === undefined || second === undefined) throw new Error('the claim should hold four chunks')
    await lane.finish(job, 'a', [first])
    await lane.claims.settle(job, 'a', {
      chunks: [{ ...second, done: 1 }],
      runs: [],
      retries: [{ delayMs: 60_000, element: chunkOf(job, { first: 1, attempt: 2 }) }],
      paceNs: 0,
    })
    expect(await readJobs(lane)).toMatchObject([
      {
        id: job.job,
        state: 'open',
        total: 10,
        submitted: 10,
        waiting: 6,
        running: 2,
        delayed: 1,
        done: 1,
        failed: 0,
        priority: 3,
        expiresInMs: undefined,
      },
    ])
  })

  test('gives pages, newest first', async () => {
    const lane = redis.lane()
    for (const [index, id] of ['old', 'middle', 'new'].entries()) {
      await lane.job(1, { id })
      await lane.client.zadd(lane.keys.jobs, index, id)
    }
    expect((await readJobs(lane, { limit: 2 })).map(({ id }) => id)).toEqual(['new', 'middle'])
    expect((await readJobs(lane, { offset: 2, limit: 2 })).map(({ id }) => id)).toEqual(['old'])
  })
})

describe('explainWait', () => {
  test('says what a job waits for, from its first worker to its last result', async () => {
    const lane = redis.lane()
    expect(await explainWait(lane, { job: 'nowhere' })).toMatch(/^nothing: Redis does not know the job/)
    const job = await lane.job(1, { complete: false })
    expect(await explainWait(lane, job)).toMatch(/^no worker is running/)
    await lane.join('other', ['o'], { info: { hash: 'beef5678ffff' } })
    expect(await explainWait(lane, job)).toMatch(
      /^no worker knows this task: 0 workers run code c0de; "square" exists on workers, but in other code \(beef5678\)/,
    )
    await lane.join('w', ['a'], { info: { threads: 4 } })
    expect(await explainWait(lane, job)).toBe('all 4 threads that run this code are busy')
    await lane.take('w', 'a')
    expect(await explainWait(lane, job)).toBeUndefined()
    const retry = { delayMs: 3000, element: chunkOf(job, { first: 0, attempt: 2 }) }
    await lane.claims.settle(job, 'a', {
      chunks: [{ first: 0, attempt: 1, done: 1 }],
      runs: [],
      retries: [retry],
      paceNs: 0,
    })
    expect(await explainWait(lane, job)).toMatch(/^retry in (3 s|2\d\d\d ms)$/)
    await lane.client.zadd(lane.keysOf(job.job).delayed, 1, retry.element)
    await lane.upkeep.promote(job.job, job.hash)
    await lane.take('w', 'a')
    await lane.finish(job, 'a', await lane.held('a'))
    expect(await explainWait(lane, job)).toBe('its driver to submit more inputs')
    await lane.client.zadd(lane.keys.driven, 1, job.job)
    await lane.upkeep.park(job.job, job.hash)
    expect(await explainWait(lane, job)).toBe('its driver is gone; attach to go on')
    await lane.parts.drop({ ...job, collector: '' })
    expect(await explainWait(lane, job)).toBe('nothing: it was cancelled')
  })
})

describe('diagnose', () => {
  const statuses = async (lane: ReturnType<typeof redis.lane>) =>
    Object.fromEntries((await diagnose([lane.client], [lane])).map(({ name, status }) => [name, status]))

  test('finds nothing wrong with a server and a fleet that are well', async () => {
    const lane = redis.lane()
    await lane.client.config('SET', 'appendonly', 'yes')
    await lane.join('w', ['a'])
    await lane.job(1)
    // A busy machine may answer slowly, which is no fault of the server.
    const checks = await diagnose([lane.client], [lane])
    const faults = checks.filter(({ name, status }) => status !== 'ok' && name !== 'reachable')
    expect(faults).toEqual([])
    expect(checks.map(({ name }) => name)).toEqual([
      'reachable',
      'version',
      'maxmemory-policy',
      'memory',
      'clock',
      'persistence',
      'workers',
      'jobs',
      'code',
      'quarantine',
      'malformed',
    ])
    await lane.client.config('SET', 'appendonly', 'no')
  })

  test('finds what is wrong, each with advice', async () => {
    const lane = redis.lane()
    await lane.client.config('SET', 'maxmemory', '1mb', 'maxmemory-policy', 'noeviction')
    await lane.client.config('SET', 'maxmemory', '0')
    await lane.join('w', ['a'])
    await lane.client.zadd(lane.keys.workers, 1, 'w')
    await lane.job(1, { hash: 'beef' })
    const parked = await lane.job(1)
    await lane.client.zadd(lane.keys.driven, 1, parked.job)
    await lane.upkeep.park(parked.job, parked.hash)
    await lane.client.hset(lane.keys.quarantine, 'job:1', 'evidence')
    await lane.client.lpush(lane.keys.malformed, 'rubbish')
    await lane.client.config('SET', 'maxmemory', '1gb', 'maxmemory-policy', 'allkeys-lru')
    expect(await statuses(lane)).toMatchObject({
      'maxmemory-policy': 'fail',
      persistence: 'warn',
      workers: 'warn',
      jobs: 'warn',
      code: 'fail',
      quarantine: 'warn',
      malformed: 'warn',
    })
    for (const { status, advice } of await diagnose([lane.client], [lane]))
      expect(status === 'ok' || advice !== undefined).toBe(true)
    await lane.client.config('SET', 'maxmemory', '0', 'maxmemory-policy', 'noeviction')
  })
})
