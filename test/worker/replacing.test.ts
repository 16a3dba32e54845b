import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { bundleTasks as BundleTasks } from '../../src/code/bundle.ts'
import type { writeBundle as WriteBundle } from '../../src/code/write-bundle.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { withResolvers } from '../../src/runtime/with-resolvers.ts'
import { redisTarget } from '../../src/store/target.ts'
import type { Crew as CrewClass } from '../../src/worker/crew.ts'
import type { ThreadStart } from '../../src/worker/thread-handle.ts'
import type { RedisProcess } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { dist, Lab, startLabRedis, tasksFile } from './support/lab.ts'
import { linesOf } from './support/record-file.ts'

let redis: RedisProcess
let folder: string

beforeAll(async () => {
  redis = await startLabRedis()
  folder = await mkdtemp(join(tmpdir(), 'millrace-'))
})

afterAll(async () => {
  await redis.stop()
  await rm(folder, { recursive: true, force: true })
})

/** What runs from source elsewhere: a thread is started from the build, with a bundle that finds the package there. */
async function built() {
  const load = (path: string): Promise<unknown> => import(new URL(path, dist).href)
  return {
    ...((await load('worker/crew.js')) as { Crew: typeof CrewClass }),
    ...((await load('code/bundle.js')) as { bundleTasks: typeof BundleTasks }),
    ...((await load('code/write-bundle.js')) as { writeBundle: typeof WriteBundle }),
  }
}

/** A module whose setup fails while `away` is there, and whose client keeps the loop of its thread turning. */
async function moduleWithClient(name: string): Promise<{ file: string; away: string; alive: string }> {
  const [file, away, alive] = ['mjs', 'away', 'alive'].map(end => join(folder, `${name}.${end}`)) as [
    string,
    string,
    string,
  ]
  await writeFile(
    file,
    `import { task } from 'millrace'
import { existsSync, appendFileSync } from 'node:fs'
import { threadId } from 'node:worker_threads'
setInterval(() => appendFileSync(${JSON.stringify(alive)}, threadId + '\\n'), 20)
export function setup() {
  if (existsSync(${JSON.stringify(away)})) throw new Error('the database is away')
}
export const work = task('work', input => {
  if (input === 'exits') process.exit(3)
  return input
}, { retries: 0 })`,
  )
  return { file, away, alive }
}

it('a thread whose setup fails when it takes the place of another is ended, and tried again', async () => {
  await using lab = new Lab(redis)
  const { file, away, alive } = await moduleWithClient('lab')
  const worker = await lab.startWorker({ tasks: file, maxDeaths: 1 })
  await writeFile(away, '')
  await lab.outcomes(await lab.submit('work', ['exits']))
  const failures = () => worker.stderr.filter(line => line.includes('the database is away')).length
  await until(() => failures() >= 3, { what: 'the setup has failed three times' })
  await rm(away)
  expect(await lab.values(await lab.submit('work', ['back']))).toEqual(['back'])
  await rm(alive)
  await until(async () => (await linesOf(alive)).length > 20, { what: 'threads that are alive have said so' })
  expect(new Set(await linesOf(alive)).size).toBe(1)
})

it('no thread begins once the others were told to drain', async () => {
  const { Crew, bundleTasks, writeBundle } = await built()
  const bundle = await bundleTasks(tasksFile)
  const { href } = await writeBundle(bundle)
  const start: ThreadStart = {
    data: {
      target: redisTarget(redis.url),
      namespace: 'crew',
      queue: 'default',
      lanes: [0],
      host: 'host:1',
      hash: bundle.hash,
      leaseMs: 6000,
      bundle: href,
      source: bundle.file,
    },
    resourceLimits: {},
  }
  const { promise: prepared, resolve: prepare } = withResolvers()
  let preparations = 0
  const crew = new Crew({
    threads: 1,
    prepare: async () => {
      if (++preparations > 1) await prepared
      return start
    },
    onMessage: () => undefined,
    onExit: () => undefined,
    onReplaced: () => undefined,
    log: silentLog,
  })
  await crew.start()
  await crew.threads[0]!.end({ kind: 'drain' }, 60_000)
  await until(() => preparations === 2, { what: 'a successor is prepared' })
  crew.stopReplacing()
  prepare()
  await turn()
  expect(crew.threads).toEqual([])
})
