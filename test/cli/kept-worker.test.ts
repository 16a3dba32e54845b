import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { FailureOutcome } from '../../src/protocol/outcome.ts'
import type { NodeProcess } from '../support/process.ts'
import type { RedisProcess } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { Lab, startLabRedis, tasksFile } from '../worker/support/lab.ts'
import type { LabJob } from '../worker/support/lab.ts'
import { redisNowMs } from '../../src/store/inspect/census.ts'
import { readWorkers } from '../../src/store/inspect/workers.ts'
import { compiled, runCli, startCli } from './support/cli.ts'

let redis: RedisProcess
beforeAll(async () => {
  await compiled()
  redis = await startLabRedis({ port: true })
})
afterAll(() => redis.stop())

/** `millrace worker` for the lab, ready. */
async function startWorker(lab: Lab, ...flags: string[]): Promise<NodeProcess> {
  const there = ['--redis', redis.url, '--namespace', lab.namespace]
  const worker = startCli(['worker', tasksFile, '--threads', '2', '--lease-ms', '1000', ...there, ...flags])
  await worker.waitForLine(/^ready/)
  const [known] = await readWorkers(lab.store)
  lab.useHash(known?.hash ?? '')
  return worker
}

async function failureOf(lab: Lab, job: LabJob, index: number): Promise<FailureOutcome> {
  const outcome = (await lab.outcomes(job, 60_000))[index]
  if (outcome === undefined || !('failure' in outcome)) throw new Error(`no failure: ${JSON.stringify(outcome)}`)
  return outcome.failure
}

/** The process that runs tasks; the one that was started here keeps it. */
async function pidsOf(lab: Lab): Promise<number[]> {
  return (await readWorkers(lab.store)).map(({ pid }) => pid)
}

describe('a task that kills its process again and again', () => {
  test.each([
    ['SIGKILL', 'was ended by SIGKILL'],
    ['SIGABRT', 'was ended by SIGABRT'],
  ])(
    'is set aside with its signal (%s), last lines and memory, and its worker goes on',
    async (signal, how) => {
      await using lab = new Lab(redis)
      const worker = await startWorker(lab)
      const inputs = [{ ms: 5 }, { ms: 100, kill: true, signal, says: 'here I go' }, { ms: 5 }]
      const job = await lab.submit('kills', inputs, { packs: 3 })
      const failure = await failureOf(lab, job, 1)
      expect(failure.code).toBe('TASK_QUARANTINED')
      expect(failure.error).toMatchObject({ message: expect.stringContaining(`the last time it ${how}`) as unknown })
      const evidence = failure.evidence?.join('\n') ?? ''
      expect(evidence).toMatch(/its process died 3 times/)
      expect(evidence).toContain(`which ${how}`)
      expect(evidence).toContain(`its input was { ms: 100, kill: true, signal: '${signal}', says: 'here I go' }`)
      expect(evidence).toMatch(/attempt 1[^]*MB of memory[^]*log: thread \d: kills \S+: here I go/)
      const shown = await runCli(['jobs', job.job, '--redis', redis.url, '--namespace', lab.namespace])
      expect(shown.stdout).toContain(how)
      expect(shown.stdout).toContain('here I go')
      // The same command still runs, and takes work.
      expect(await lab.values(await lab.submit('kills', [{}, {}]))).toEqual([1, 1])
      expect(worker.stderr.filter(line => line.includes(`${how}: it is started again`))).toHaveLength(4)
      worker.kill('SIGTERM')
      expect(await worker.exited).toEqual({ code: 0, signal: null })
      expect(await pidsOf(lab)).toEqual([])
    },
    90_000,
  )
})

test('what a process held that was seen to die runs again before its lease has lapsed', async () => {
  await using lab = new Lab(redis)
  // It reaps meanwhile, and far more often than its own lease would need.
  await lab.startWorker({ leaseMs: 1000 })
  const worker = await startWorker(lab, '--lease-ms', '3600000')
  const [known] = (await readWorkers(lab.store)).filter(({ id }) => id !== lab.workers[0]!.id)
  await until(async () => (await reapingForMs(lab)) > 1500, { what: 'a reaper has run for a lease' })
  const job = await lab.submit(
    'kills',
    Array.from({ length: 3 }, () => ({ ms: 60_000 })),
    { packs: 3 },
  )
  const claims = await lab.store.members.claimsOf(known!.id)
  const held = async () => (await Promise.all(claims.map(claim => lab.store.claims.peekClaim(claim)))).flat().length
  await until(async () => (await held()) > 0, { what: 'it holds something' })
  process.kill(known!.pid, 'SIGKILL')
  await until(async () => (await held()) === 0, { what: 'that went back' })
  expect((await lab.store.parts.readCounters(job.job))?.settled).toBe(0)
  lab.workers[0]!.kill('SIGKILL')
  const isAgain = () => worker.stderr.filter(line => line.startsWith('ready')).length === 2
  await until(isAgain, { what: 'it was started again' })
  worker.kill('SIGTERM')
  await worker.waitForLine(/^draining/)
  worker.kill('SIGTERM')
  expect(await worker.exited).toEqual({ code: 143, signal: null })
})

async function reapingForMs(lab: Lab): Promise<number> {
  const since = await lab.client.hget(lab.store.keys.lane, 'reapingSince')
  return since === null ? 0 : (await redisNowMs(lab.store)) - Number(since)
}

describe('the process that keeps a worker', () => {
  test('is not there with --no-restart: the worker ends with what a task does to it', async () => {
    await using lab = new Lab(redis)
    const worker = await startWorker(lab, '--no-restart')
    expect(await pidsOf(lab)).toEqual([worker.pid])
    await lab.submit('kills', [{ kill: true }])
    expect(await worker.exited).toMatchObject({ signal: 'SIGKILL' })
  })

  test('has the worker end when it is killed itself', async () => {
    await using lab = new Lab(redis)
    const worker = await startWorker(lab)
    const [pid] = await pidsOf(lab)
    expect(pid).not.toBe(worker.pid)
    worker.kill('SIGKILL')
    await until(async () => (await pidsOf(lab)).length === 0, { what: 'it has left' })
    await until(() => !isThere(pid!), { what: 'its process is gone' })
  })

  test('starts it again for as long as Redis is away', async () => {
    await using own = await startLabRedis({ port: true })
    const there = ['--redis', own.url, '--namespace', 'away']
    const worker = startCli(['worker', tasksFile, '--threads', '1', ...there])
    await worker.waitForLine(/^ready/)
    const keys = await own.cli('KEYS', '*:worker:*:claims')
    const [, id = ''] = /:worker:([^:]+):claims/.exec(keys) ?? []
    const info = JSON.parse(await own.cli('HGET', `{away:default:0}:worker:${id}`, 'info')) as { pid: number }
    await own.kill()
    process.kill(info.pid, 'SIGKILL')
    const lines = (pattern: RegExp) => worker.stderr.filter(line => pattern.test(line)).length
    await until(() => lines(/REDIS_UNREACHABLE/) > 5, { what: 'it looked for Redis in vain', timeoutMs: 120_000 })
    await own.restart()
    await until(() => lines(/^ready/) === 2, { what: 'it works again', timeoutMs: 30_000 })
    worker.kill('SIGTERM')
    expect(await worker.exited).toEqual({ code: 0, signal: null })
  }, 180_000)

  test('passes the first of several signals on once, whoever else has sent it to the worker too', async () => {
    await using lab = new Lab(redis)
    const worker = await startWorker(lab)
    const job = await lab.submit('kills', [{ ms: 1500, says: 'begun' }])
    await worker.waitForLine(/begun/)
    const [pid] = await pidsOf(lab)
    // As a service manager does, or Ctrl-C in a terminal.
    process.kill(pid!, 'SIGTERM')
    worker.kill('SIGTERM')
    expect(await worker.exited).toEqual({ code: 0, signal: null })
    expect(await lab.values(job)).toEqual([1])
  })
})

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
