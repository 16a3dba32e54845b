import { describe, expect, test } from 'vitest'
import { redisNowMs, workerRecord } from '../../src/store/inspect/census.ts'
import { useRedis } from '../store/support/lane.ts'

const redis = useRedis()

describe('register and heartbeat', () => {
  test('a heartbeat extends the lease by Redis’s clock and keeps the number of threads', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'], { leaseMs: 1000 })
    const before = Number(await lane.client.zscore(lane.keys.workers, 'w'))
    expect(await lane.members.heartbeat('w', { leaseMs: 50_000, threads: 3, stats: '{}' })).toBe('renewed')
    expect(Number(await lane.client.zscore(lane.keys.workers, 'w')) - before).toBeGreaterThan(40_000)
    expect(await lane.client.hget(lane.keys.lane, 'slots')).toBe('3')
  })

  test('a heartbeat costs the same, whatever the worker holds', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'], { leaseMs: 60_000 })
    const cost = async () => {
      await lane.client.config('RESETSTAT')
      await lane.members.heartbeat('w', { leaseMs: 60_000, threads: 3, stats: '{}' })
      const stats = await lane.client.info('commandstats')
      // A first call by its digest may find the script unknown: that Redis runs it from its text costs no more calls.
      const calls = [...stats.matchAll(/^cmdstat_(\S+):calls=(\d+)/gm)].filter(
        ([, name]) => !/^(eval|evalsha|config|info)/.test(name ?? ''),
      )
      return calls.reduce((sum, [, , count]) => sum + Number(count), 0)
    }
    const one = await cost()
    for (let i = 0; i < 500; i++) await lane.members.enroll('w', `c${i}`)
    await lane.job(500)
    for (let i = 0; i < 300; i++) await lane.take('w', `c${i}`)
    expect(one).toBeGreaterThan(0)
    expect(await cost()).toBe(one)
  })

  test('a worker that was declared dead, or that Redis lost, is unknown and can’t enroll claims', async () => {
    const lane = redis.lane()
    const beat = { leaseMs: 1000, threads: 1, stats: '' }
    await lane.join('w', ['a'])
    await lane.killWorker('w')
    expect(await lane.members.heartbeat('w', beat)).toBe('unknown')
    expect(await lane.members.enroll('w', 'b')).toBe('unknown')
    await lane.client.flushall()
    expect(await lane.members.heartbeat('w', beat)).toBe('unknown')
    expect(await lane.allKeys()).toEqual([])
  })

  test('a worker whose process was seen to end has no lease left, but keeps its claims until it is declared dead', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'], { leaseMs: 60_000 })
    await lane.join('other', ['b'], { leaseMs: 60_000 })
    expect(await lane.members.noteEnd('w', '{"how":"was ended by SIGKILL"}')).toBe('noted')
    expect(Number(await lane.client.zscore(lane.keys.workers, 'w'))).toBeLessThanOrEqual(await redisNowMs(lane))
    expect(Number(await lane.client.zscore(lane.keys.workers, 'other'))).toBeGreaterThan(await redisNowMs(lane))
    expect(await workerRecord(lane, 'w')).toMatchObject({ end: '{"how":"was ended by SIGKILL"}' })
    expect(await lane.members.claimsOf('w')).toEqual(['a'])
    // The grace holds for it too: no reaper has run for a lease.
    expect(await lane.members.declareDead(60_000)).toEqual([])
  })

  test('the end of a worker that is gone leaves nothing behind', async () => {
    const lane = redis.lane()
    expect(await lane.members.noteEnd('w', '{}')).toBe('unknown')
    expect(await lane.allKeys()).toEqual([])
  })

  test('workers are told of each other on the control channel', async () => {
    const lane = redis.lane()
    const listener = redis.open()
    const heard: string[] = []
    await listener.subscribe(`${lane.lane.namespace}:default:control`)
    listener.on('message', (_channel: string, message: string) => heard.push(message))
    await lane.join('w', ['a'])
    await lane.members.leave('w', ['a'])
    await expect.poll(() => heard).toEqual(['joined w', 'left w'])
  })
})

describe('retireClaim and leave', () => {
  test('a claim that holds chunks can’t be retired', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'])
    const job = await lane.job(1)
    await lane.take('w', 'a')
    expect(await lane.members.retireClaim('w', 'a', 'c0de')).toBe('held')
    await lane.claims.giveBack(job.job, job.hash, 'a')
    expect(await lane.members.retireClaim('w', 'a', 'c0de')).toBe('retired')
    expect(await lane.members.claimsOf('w')).toEqual([])
  })

  test('a claim that ended is remembered, for a chunk that arrives late', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a', 'b'])
    await lane.members.retireClaim('w', 'a', 'c0de')
    await lane.members.leave('w', ['b'])
    expect(await lane.client.zrange(lane.keys.retired, 0, '-1')).toEqual(['a', 'b'])
    expect(await lane.client.pttl(lane.keys.retired)).toBeGreaterThan(0)
  })

  test('a worker leaves only with empty claims, and only with all of them named', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a', 'b'])
    const job = await lane.job(1)
    await lane.take('w', 'a')
    expect(await lane.members.leave('w', ['a', 'b'])).toBe('held')
    expect(await lane.members.leave('w', ['b'])).toBe('held')
    await lane.claims.giveBack(job.job, job.hash, 'a')
    expect(await lane.members.leave('w', ['a', 'b'])).toBe('left')
    expect(await lane.client.exists(lane.workerKeys('w').worker, lane.workerKeys('w').claims)).toBe(0)
    expect(await lane.client.zcard(lane.keys.workers)).toBe(0)
  })
})

describe('declareDead', () => {
  const leaseMs = 6000

  test('declares nobody dead before it has run for a whole lease', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'])
    await lane.client.zadd(lane.keys.workers, 1, 'w')
    expect(await lane.members.declareDead(leaseMs)).toEqual([])
    const nowMs = await redisNowMs(lane)
    await lane.client.hset(lane.keys.lane, 'reapedAt', nowMs - 1500, 'reapingSince', nowMs - leaseMs + 500)
    expect(await lane.members.declareDead(leaseMs)).toEqual([])
    await lane.client.hset(lane.keys.lane, 'reapedAt', nowMs - 1500, 'reapingSince', nowMs - leaseMs)
    expect(await lane.members.declareDead(leaseMs)).toEqual(['w'])
  })

  test('starts the grace anew after a gap of more than a third of a lease, and after the clock was set back', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'])
    await lane.client.zadd(lane.keys.workers, 1, 'w')
    const nowMs = await redisNowMs(lane)
    for (const reapedAt of [nowMs - leaseMs / 3 - 1, nowMs + 1_000_000]) {
      await lane.client.hset(lane.keys.lane, 'reapedAt', reapedAt, 'reapingSince', 1)
      expect(await lane.members.declareDead(leaseMs)).toEqual([])
      expect(Number(await lane.client.hget(lane.keys.lane, 'reapingSince'))).toBeGreaterThanOrEqual(nowMs)
    }
  })

  test('leaves workers alone whose lease runs', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'])
    await lane.pretendReaping(leaseMs)
    expect(await lane.members.declareDead(leaseMs)).toEqual([])
    expect(await lane.client.zcard(lane.keys.workers)).toBe(1)
  })

  test('does nothing right after another reaper', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'])
    await lane.killWorker('w')
    // Within a twelfth of this lease, however slow the machine is.
    expect(await lane.members.declareDead(100 * leaseMs)).toEqual([])
    await lane.pretendReaping(leaseMs)
    expect(await lane.members.declareDead(leaseMs)).toEqual(['w'])
  })

  test('lists the newest dead as well as the oldest, so that a mass death is worked off', async () => {
    const lane = redis.lane()
    for (let i = 0; i < 150; i++) {
      await lane.join(`w${i}`, [])
      await lane.client.zadd(lane.keys.workers, i + 1, `w${i}`)
    }
    const seen = new Set<string>()
    for (let run = 0; run < 3; run++) {
      await lane.pretendReaping(leaseMs)
      const dead = await lane.members.declareDead(leaseMs)
      expect(dead.length).toBeLessThanOrEqual(128)
      for (const worker of dead) seen.add(worker)
    }
    expect(seen.size).toBe(150)
  })
})

describe('bury', () => {
  test('waits one lease after the death, then for the claims to be empty', async () => {
    const lane = redis.lane()
    await lane.join('w', ['a'])
    const job = await lane.job(1)
    await lane.take('w', 'a')
    expect(await lane.members.bury('w', ['a'])).toBe('gone')
    await lane.killWorker('w')
    expect(await lane.members.bury('w', ['a'])).toBe('waiting')
    await lane.client.zadd(lane.keys.dead, 1, 'w')
    expect(await lane.members.bury('w', ['a'])).toBe('held')
    await lane.claims.giveBackOfDead(job.job, job.hash, 'a', {
      worker: 'w',
      maxDeaths: 3,
      failure: Buffer.from(''),
      evidence: '',
    })
    expect(await lane.members.bury('w', ['a'])).toBe('buried')
    expect(await lane.client.exists(lane.workerKeys('w').worker, lane.workerKeys('w').claims, lane.keys.dead)).toBe(0)
    expect(await lane.client.zrange(lane.keys.retired, 0, '-1')).toEqual(['a'])
  })
})
