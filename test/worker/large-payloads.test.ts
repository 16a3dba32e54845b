import { randomBytes } from 'node:crypto'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Proxy } from '../../chaos/proxy.ts'
import { connect } from '../../src/index.ts'
import type { Mill, Task } from '../../src/index.ts'
import { decodeQuarantined } from '../../src/protocol/evidence.ts'
import { partKeys } from '../../src/protocol/keys.ts'
import { removeWithThisProcess } from '../support/guardian.ts'
import type { RedisProcess } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { Lab, startLabRedis, tasksFile } from './support/lab.ts'

let redis: RedisProcess

beforeAll(async () => {
  redis = await startLabRedis()
})
afterAll(async () => {
  await redis.stop()
})

type Tasks = Readonly<Record<string, Task<unknown, unknown, unknown>>>

async function withMill(use: (lab: Lab, mill: Mill, tasks: Tasks) => Promise<void>, options = {}): Promise<void> {
  await using lab = new Lab(redis)
  await lab.startWorker({ threads: 2, ...options })
  const mill = await connect({ redis: redis.url, namespace: lab.namespace, tasks: tasksFile })
  try {
    await use(lab, mill, (await import(tasksFile)) as Tasks)
  } finally {
    await mill.close()
  }
}

/** How many inputs are held. */
const held = async (lab: Lab, job: string) =>
  (await lab.client.hkeys(partKeys(lab.store.lane, job).payloads)).filter(field => !field.startsWith('r:')).length
const buffers = (count: number, bytes = 200_000) => Array.from({ length: count }, () => randomBytes(bytes))

describe('inputs too large to travel in a List', () => {
  it('come whole, among small ones, and leave nothing behind', async () => {
    await withMill(async (lab, mill, { whole }) => {
      const inputs = buffers(60).flatMap((bytes, i): unknown[] => [bytes, i])
      const job = mill.map(whole!, inputs)
      expect(isDeepStrictEqual(await job.results(), inputs)).toBe(true)
      await until(async () => (await lab.client.keys(`*${job.id}*`)).length === 0, { what: 'its keys are gone' })
    })
  })

  it('are run by the thread that reads them, however long that takes', async () => {
    const proxy = new Proxy(redis.socketPath)
    const far = await proxy.listen()
    try {
      proxy.setMode({ kind: 'delay', ms: 60 })
      await withMill(
        async (_lab, mill, { whole }) => {
          const inputs = buffers(3)
          expect(isDeepStrictEqual(await mill.map(whole!, inputs).results(), inputs)).toBe(true)
        },
        { redis: far },
      )
    } finally {
      await proxy.close()
    }
  })

  it('are given to a retry as they were submitted, not as the failed attempt left them', async () => {
    await withMill(async (lab, mill, { spoils }) => {
      const inputs = buffers(4)
      const job = mill.map(spoils!, inputs, { detached: true })
      expect(
        isDeepStrictEqual(
          await job.results(),
          inputs.map(bytes => [3, bytes]),
        ),
      ).toBe(true)
      expect(await held(lab, job.id)).toBe(0)
    })
  })

  it('of a worker that was killed go to another', async () => {
    await withMill(async (lab, mill, { slow }) => {
      const inputs = buffers(12)
      const job = mill.map(slow!, inputs)
      const results = job.results()
      await until(async () => (await held(lab, job.id)) > 0, { what: 'some are submitted' })
      await until(async () => (await job.progress()).done > 1, { what: 'some are done' })
      lab.workers[0]!.kill()
      await lab.startWorker({ threads: 2 })
      expect(isDeepStrictEqual(await results, inputs)).toBe(true)
    })
  })

  it('come back after a restart of Redis, and after it lost all of them', async () => {
    await withMill(async (lab, mill, { slow }) => {
      for (const loses of [false, true]) {
        const inputs = buffers(20)
        const job = mill.map(slow!, inputs)
        const results = job.results()
        await until(async () => (await job.progress()).done > 1, { what: 'some are done' })
        if (loses) await lab.client.flushall()
        else await redis.restart()
        expect(isDeepStrictEqual(await results, inputs)).toBe(true)
      }
    })
  })

  it('go into quarantine with a task that ends its thread', async () => {
    await withMill(async (lab, mill, { exitsUnless }) => {
      const folder = await mkdtemp(join(tmpdir(), 'millrace-'))
      removeWithThisProcess(folder)
      const cure = join(folder, 'cure')
      const [ballast] = buffers(1)
      const id = 'poisoned'
      const job = mill.map(exitsUnless!, [{ cure, ballast }], { id, detached: true })
      await job.submitted()
      await until(async () => (await lab.client.hlen(lab.store.keys.quarantine)) === 1, {
        what: 'it is in quarantine',
      })
      expect(await held(lab, id)).toBe(0)
      const [entry = Buffer.alloc(0)] = await lab.client.hvalsBuffer(lab.store.keys.quarantine)
      const { evidence, chunk } = decodeQuarantined(`${id}:0`, entry)
      expect(evidence.join('\n')).toMatch(/its input was \{\s+cure: [^]*ballast: Buffer\(200000\)/)
      expect(chunk?.header).toMatchObject({ kind: 'pack', first: 0, base: 0, deaths: 0 })
      const part = await lab.store.parts.readPart(id)
      await writeFile(cure, '')
      // As if its collector were gone: nobody is asked here.
      const { hash, collector } = { hash: lab.workers[0]!.hash, collector: part!.collector }
      expect(await lab.store.upkeep.retryQuarantined({ job: id, hash, collector }, 0)).toBe('retried')
      await until(async () => (await lab.store.parts.readCounters(id))?.settled === 1, { what: 'it is settled' })
      expect(await lab.store.parts.readCounters(id)).toMatchObject({ settled: 1, failed: 0 })
    })
  })
})
