import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decodeQuarantined } from '../../src/protocol/evidence.ts'
import { removeWithThisProcess } from '../support/guardian.ts'
import type { RedisProcess } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { runCli, compiled } from '../cli/support/cli.ts'
import { Lab, startLabRedis } from './support/lab.ts'
import type { LabOutcome } from './support/lab.ts'

/** A process that died is started again several times in these tests, which takes long where the machine is busy. */
const patience = 150_000

let redis: RedisProcess

beforeAll(async () => {
  await compiled()
  redis = await startLabRedis({ port: true })
})

afterAll(async () => {
  await redis.stop()
})

function failureOf(outcome: LabOutcome | undefined) {
  if (outcome === undefined || !('failure' in outcome))
    throw new Error(`expected a failure, got ${JSON.stringify(outcome)}`)
  return outcome.failure
}

/** Starts a worker in the place of each that dies, as a process manager does, until it is told to stop. */
async function keepWorker(lab: Lab, options: Readonly<Record<string, unknown>>) {
  let stopped = false
  let deaths = 0
  await lab.startWorker(options)
  const keep = async () => {
    for (;;) {
      await lab.workers.at(-1)!.exited
      if (stopped) return
      deaths++
      await lab.startWorker(options)
    }
  }
  const kept = keep()
  kept.catch(() => undefined)
  return {
    get deaths() {
      return deaths
    },
    [Symbol.dispose]: () => {
      stopped = true
    },
  }
}

async function quarantineOf(lab: Lab) {
  const entries = await lab.client.hgetallBuffer(lab.store.keys.quarantine)
  return Object.entries(entries).map(([field, entry]) => decodeQuarantined(field, entry))
}

describe('a task that kills its process', () => {
  it('is quarantined with evidence, and those that ran beside it each time are not', async () => {
    await using lab = new Lab(redis)
    using worker = await keepWorker(lab, { threads: 2, leaseMs: 1000 })
    // Long enough to be running whenever the process dies.
    const inputs = [
      { ms: 1200 },
      { kill: true, ms: 400 },
      { ms: 1200 },
      { ms: 1200 },
      ...Array.from({ length: 20 }, () => ({ ms: 1 })),
    ]
    const outcomes = await lab.outcomes(await lab.submit('kills', inputs, { packs: inputs.length }), patience)
    expect(worker.deaths).toBe(4)
    const failure = failureOf(outcomes[1])
    expect(failure.code).toBe('TASK_QUARANTINED')
    const evidence = failure.evidence?.join('\n') ?? ''
    expect(evidence).toMatch(
      /its process died 3 times[^]*vanished[^]*its input was { kill: true, ms: 400 }[^]*attempt 1[^]*MB of memory/,
    )
    // All others have a result, in their first attempt.
    expect(outcomes.filter((_, i) => i !== 1)).toEqual(Array.from({ length: inputs.length - 1 }, () => ({ value: 1 })))
    const kept = await quarantineOf(lab)
    expect(kept).toHaveLength(1)
    expect(kept[0]).toMatchObject({ index: 1, chunk: { header: { count: 1, deaths: 0, attempt: 1, task: 'kills' } } })
  })

  it('is shown by `millrace jobs`, and runs again when it is told to', async () => {
    await using lab = new Lab(redis)
    const folder = await mkdtemp(join(tmpdir(), 'millrace-'))
    removeWithThisProcess(folder)
    const cure = join(folder, 'cure')
    using worker = await keepWorker(lab, { threads: 1, leaseMs: 1000 })
    const job = await lab.submit('kills', [{ ms: 1 }, { kill: true, cure }], { packs: 2 })
    await lab.outcomes(job, patience)
    expect(worker.deaths).toBe(4)
    const jobs = (...args: string[]) =>
      runCli(['jobs', job.job, ...args, '--redis', redis.url, '--namespace', lab.namespace])
    const shown = await jobs()
    expect(shown.stdout).toMatch(
      /In quarantine[^]*\/1 .*last on [^]*task kills, input { kill: true, cure: '.*cure' }[^]*process died 3 times/,
    )
    const asJson = JSON.parse((await jobs('--json')).stdout) as { quarantine: object[] }
    expect(asJson.quarantine).toMatchObject([{ job: job.job, index: 1, task: 'kills', attempt: 1 }])
    expect(await jobs('--retry', '0')).toMatchObject({
      code: 1,
      stdout: '',
      stderr: /RETRY_REFUSED.*not in quarantine/,
    })
    await writeFile(cure, '')
    expect(await jobs('--retry', '1')).toMatchObject({ code: 0, stdout: /is in line again/ })
    expect(await lab.outcomes(job, patience)).toEqual([{ value: 1 }, { value: 1 }])
    expect(await lab.store.parts.readCounters(job.job)).toMatchObject({ settled: 2, failed: 0, waiting: 0 })
    expect(await quarantineOf(lab)).toEqual([])
    expect(await jobs('--retry', '1')).toMatchObject({ code: 1, stderr: /RETRY_REFUSED/ })
  })
})

describe('a task that takes memory which no heap limit covers', () => {
  it('has its process end, is quarantined when it has done so three times alone, and its neighbours are not', async () => {
    await using lab = new Lab(redis)
    using worker = await keepWorker(lab, { threads: 2, leaseMs: 2000, rssMb: 400 })
    const inputs = [{ hoard: true }, ...Array.from({ length: 30 }, () => ({ ms: 20 }))]
    const outcomes = await lab.outcomes(await lab.submit('hoards', inputs, { pace: 1e6, packs: 2 }), patience)
    const failure = failureOf(outcomes[0])
    expect(failure.code).toBe('TASK_QUARANTINED')
    expect(failure.evidence?.join('\n')).toMatch(
      /had \d{3} MB of memory, more than its rssMb of 400, while this task ran[^]*its input was { hoard: true }/,
    )
    expect(outcomes.slice(1)).toEqual(inputs.slice(1).map(() => ({ value: 1 })))
    expect(worker.deaths).toBeGreaterThanOrEqual(3)
    // It is noted after its failure is committed.
    await until(async () => (await quarantineOf(lab)).length === 1, { what: 'it is in quarantine, alone' })
  })
})

describe('a task that throws or returns what nobody expects', () => {
  it('fails alone, typed, and the thread goes on', async () => {
    await using lab = new Lab(redis)
    const worker = await lab.startWorker({ threads: 1 })
    const expected: Readonly<Record<string, string>> = {
      undefined: 'TASK_FAILED',
      null: 'TASK_FAILED',
      text: 'TASK_FAILED',
      object: 'TASK_FAILED',
      getter: 'TASK_FAILED',
      proxy: 'TASK_FAILED',
      cycle: 'TASK_FAILED',
      'rejects undefined': 'TASK_FAILED',
      thenable: 'TASK_FAILED',
      function: 'VALUE_NOT_ENCODABLE',
      symbol: 'VALUE_NOT_ENCODABLE',
      class: 'VALUE_NOT_ENCODABLE',
      deep: 'VALUE_NOT_ENCODABLE',
      'hostile getter': 'VALUE_NOT_ENCODABLE',
      'too large': 'VALUE_TOO_LARGE',
    }
    const inputs = Object.keys(expected).flatMap(how => [how, 'fine'])
    const outcomes = await lab.outcomes(await lab.submit('misbehaves', inputs, { pace: 1e6 }))
    const seen = inputs.map((how, i) => {
      const outcome = outcomes[i]
      return [how, outcome !== undefined && 'failure' in outcome ? outcome.failure.code : outcome]
    })
    expect(seen).toEqual(inputs.map(how => [how, expected[how] ?? { value: 'fine' }]))
    expect(worker.stderr.filter(line => line.includes('ended with exit code'))).toEqual([])
  })
})
