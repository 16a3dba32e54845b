import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { broadcastKey, codeKeys } from '../../src/protocol/keys.ts'
import { decodeCollectorMessage } from '../../src/protocol/run.ts'
import { decodeValue, encodeValue } from '../../src/protocol/values.ts'
import { openClient } from '../../src/store/client.ts'
import { redisTarget } from '../../src/store/target.ts'
import type { RedisProcess } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { Lab, startLabRedis } from './support/lab.ts'
import { linesOf, recordFile } from './support/record-file.ts'

let redis: RedisProcess

beforeAll(async () => {
  redis = await startLabRedis({ appendonly: 'everysec', port: true })
})

afterAll(async () => {
  await redis.stop()
})

describe('a drain', () => {
  it('ends with 0 after the running task, hands back the rest, and leaves nothing of the worker behind', async () => {
    await using lab = new Lab(redis)
    const worker = await lab.startWorker()
    const file = await recordFile()
    const inputs = Array.from({ length: 20 }, (_, x) => ({ file, ms: 300, x }))
    const job = await lab.submit('recorded', inputs, { pace: 1000 })
    await until(async () => (await linesOf(file)).length > 0, { what: 'a task runs' })
    worker.kill('SIGTERM')
    expect(await worker.exited).toEqual({ code: 0, signal: null })
    const ran = (await linesOf(file)).length
    expect(ran).toBeLessThan(4)
    // What ran is committed, what did not waits.
    expect((await lab.store.parts.readCounters(job.job))?.settled).toBe(ran)
    expect(await lab.waiting(job)).toBe(20 - ran)
    expect(await lab.workerKeys()).toEqual([])
    await lab.startWorker({ threads: 2 })
    expect(await lab.values(job)).toEqual(inputs.map(({ x }) => x))
    expect(await linesOf(file)).toHaveLength(20)
  })

  it('hands back what does not finish in time', async () => {
    await using lab = new Lab(redis)
    const worker = await lab.startWorker({ drainMs: 300 })
    const file = await recordFile()
    const job = await lab.submit('recorded', [{ file, ms: 5000, x: 1 }])
    await until(async () => (await linesOf(file)).length > 0, { what: 'the task runs' })
    worker.kill('SIGTERM')
    expect(await worker.exited).toEqual({ code: 0, signal: null })
    expect((await lab.store.parts.readCounters(job.job))?.settled).toBe(0)
    expect(await lab.waiting(job)).toBe(1)
    expect(await lab.workerKeys()).toEqual([])
  })

  it('of an idle worker does not wait for its blocked connections', async () => {
    await using lab = new Lab(redis)
    const worker = await lab.startWorker({ threads: 2 })
    const started = performance.now()
    worker.kill('SIGTERM')
    await worker.exited
    expect(performance.now() - started).toBeLessThan(3500)
    expect(await lab.workerKeys()).toEqual([])
  })

  it('is cut short by a second signal, also where a thread runs native code', async () => {
    await using lab = new Lab(redis)
    const worker = await lab.startWorker()
    const file = await recordFile()
    await lab.submit('stuckForEver', [file])
    await until(async () => (await linesOf(file)).length > 0, { what: 'the task runs' })
    worker.kill('SIGTERM')
    await worker.waitForLine(/the worker drains on SIGTERM/)
    worker.kill('SIGINT')
    expect(await worker.exited).toEqual({ code: null, signal: 'SIGINT' })
  })

  it('ends the process although a thread runs native code for ever, whose task goes back', async () => {
    await using lab = new Lab(redis)
    const worker = await lab.startWorker({ drainMs: 300 })
    const file = await recordFile()
    const job = await lab.submit('stuckForEver', [file])
    await until(async () => (await linesOf(file)).length > 0, { what: 'the task runs' })
    worker.kill('SIGTERM')
    expect(await worker.exited).toEqual({ code: null, signal: 'SIGKILL' })
    expect(await lab.waiting(job)).toBe(1)
  })
})

describe('a fleet', () => {
  it('finishes what a killed worker held, and commits every task once', async () => {
    await using lab = new Lab(redis)
    const victim = await lab.startWorker({ threads: 2 })
    const file = await recordFile()
    const inputs = Array.from({ length: 60 }, (_, x) => ({ file, ms: 30, x }))
    const job = await lab.submit('recorded', inputs, { packs: 6, pace: 1e6 })
    await until(async () => (await linesOf(file)).length > 10, { what: 'the first worker is in the middle' })
    victim.kill('SIGKILL')
    await lab.startWorker({ threads: 2 })
    expect(await lab.values(job, 20_000)).toEqual(inputs.map(({ x }) => x))
    // At least once: what was running when the worker died may have run twice, and nothing ran less than once.
    expect(new Set(await linesOf(file)).size).toBe(60)
  })

  it('refuses the commits of a worker that was frozen past its lease, and takes it back under another name', async () => {
    await using lab = new Lab(redis)
    const frozen = await lab.startWorker({ leaseMs: 1000 })
    const file = await recordFile()
    const job = await lab.submit('recorded', [{ file, ms: 1500, x: 1 }])
    await until(async () => (await linesOf(file)).length > 0, { what: 'the task runs' })
    frozen.kill('SIGSTOP')
    await lab.startWorker({ leaseMs: 1000 })
    await lab.outcomes(job)
    frozen.kill('SIGCONT')
    await until(() => frozen.stderr.some(line => line.includes('it goes on as')), { what: 'it registers anew' })
    expect(await lab.store.parts.readCounters(job.job)).toMatchObject({ settled: 1 })
    // Both work from now on.
    const workers = await lab.values(
      await lab.submit(
        'spins',
        Array.from({ length: 100 }, () => 50),
      ),
    )
    expect(new Set(workers).size).toBe(2)
  })

  it('goes on when Redis is killed and comes back', async () => {
    await using lab = new Lab(redis)
    await lab.startWorker({ threads: 2 })
    const job = await lab.submit(
      'spins',
      Array.from({ length: 200 }, () => 10),
      { packs: 20, pace: 1e6 },
    )
    await until(async () => ((await lab.store.parts.readCounters(job.job))?.settled ?? 0) > 20, {
      what: 'some tasks are settled',
    })
    await redis.kill('SIGKILL')
    await redis.restart()
    expect(await lab.values(job, 20_000)).toHaveLength(200)
    await until(async () => (await lab.client.keys(`*${lab.namespace}*:claim:*`)).length === 0, {
      what: 'no claim holds anything',
    })
  })

  it('registers anew when Redis has forgotten everything', async () => {
    await using lab = new Lab(redis)
    await lab.startWorker({ leaseMs: 1000 })
    await lab.client.flushall()
    expect(await lab.values(await lab.submit('square', 10))).toHaveLength(10)
  })

  it('goes on over a cut of all its connections', async () => {
    await using lab = new Lab(redis)
    await lab.startWorker({ threads: 2 })
    const job = await lab.submit(
      'spins',
      Array.from({ length: 300 }, () => 5),
      { packs: 30, pace: 1e6 },
    )
    for (const percent of [10, 40, 70]) {
      await until(async () => ((await lab.store.parts.readCounters(job.job))?.settled ?? 0) > (300 * percent) / 100, {
        what: `${percent} % are settled`,
      })
      const clients = (await lab.client.client('LIST')) as string
      for (const [, id] of clients.matchAll(/^id=(\d+) .*name=millrace:/gm)) await lab.client.client('KILL', 'ID', id!)
    }
    expect(await lab.values(job, 20_000)).toHaveLength(300)
    await until(async () => (await lab.client.keys(`*${lab.namespace}*:claim:*`)).length === 0, {
      what: 'no claim holds anything',
    })
  })
})

it('answers a broadcast once from each thread, and the tasks after it see its effect', async () => {
  await using lab = new Lab(redis)
  const worker = await lab.startWorker({ threads: 2 })
  const subscriber = openClient(redisTarget(redis.url), { name: 'lab-replies', silenceMs: 10_000 })
  try {
    const answered: string[] = []
    subscriber.on('messageBuffer', (_channel: Buffer, bytes: Buffer) => {
      const message = decodeCollectorMessage(bytes)
      if (message.type === 'answered') answered.push(message.field)
    })
    await subscriber.subscribe('replies')
    await lab.store.publishControl({
      type: 'broadcast',
      id: 'b1',
      hash: worker.hash,
      lane: 0,
      deadlineMs: 5000,
      replyChannel: 'replies',
      task: 'configure',
      input: encodeValue('set'),
    })
    await until(() => answered.length === 2, { what: 'both threads have answered' })
    expect(answered.sort()).toEqual([`${worker.id}/0`, `${worker.id}/1`])
    const answers = await lab.client.hgetallBuffer(broadcastKey(lab.store.lane, 'b1'))
    expect(Object.values(answers).map(decodeValue)).toEqual([
      { ok: true, value: 'set' },
      { ok: true, value: 'set' },
    ])
    expect(await lab.client.pttl(broadcastKey(lab.store.lane, 'b1'))).toBeGreaterThan(0)
    expect(new Set(await lab.values(await lab.submit('whichSetting', [1, 2, 3, 4])))).toEqual(new Set(['set']))
  } finally {
    subscriber.disconnect()
  }
})

describe('an idle thread', () => {
  it('blocks again without looking for itself when nothing came', async () => {
    await using lab = new Lab(redis)
    const monitor = await lab.client.monitor()
    monitor.on('error', () => undefined)
    const seen: string[] = []
    monitor.on('monitor', (_time: string, args: string[], source: string) => {
      const [name = '', first = ''] = args
      if (!first.includes(`${lab.namespace}:default:0}:stage:`)) return
      if (name.toLowerCase() === 'blmove') seen.push('block')
      // Only a claim reads the stage.
      else if (source === 'lua' && name.toLowerCase() === 'lindex') seen.push('look')
    })
    await lab.startWorker({ leaseMs: 1000 })
    await until(() => seen.filter(what => what === 'block').length >= 4, { what: 'it has blocked four times' })
    monitor.disconnect()
    expect(seen.join(' ')).toContain('look block block block')
  })

  it('finds work that Redis has forgotten to tell it of', async () => {
    await using lab = new Lab(redis)
    const { hash } = await lab.startWorker({ leaseMs: 60_000 })
    const { waiting, stage } = codeKeys(lab.store.lane, hash)
    // Unless a thread begins to wait anew just then.
    const untold = async () => {
      await until(async () => (await lab.client.zcard(waiting)) > 0, { what: 'it waits' })
      await lab.client.del(waiting)
      const job = await lab.submit('square', [1, 2, 3])
      return (await lab.client.exists(stage)) === 0 ? job : undefined
    }
    expect(await lab.values(await until(untold, { what: 'a job of which no thread was told' }))).toEqual([1, 4, 9])
  })
})
