import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { FromLocalWorker, StartLocalWorker } from '../../src/protocol/local-worker.ts'
import { redisTarget } from '../../src/store/target.ts'
import { killWithThisProcess } from '../support/guardian.ts'
import { spawnNode } from '../support/process.ts'
import type { RedisProcess } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { dist, Lab, startLabRedis, tasksFile, workerEntry } from './support/lab.ts'
import { linesOf, recordFile } from './support/record-file.ts'

let redis: RedisProcess
let folder: string
const script = fileURLToPath(new URL('./support/worker-process.mjs', import.meta.url))

beforeAll(async () => {
  redis = await startLabRedis()
  folder = await mkdtemp(join(tmpdir(), 'millrace-'))
})

afterAll(async () => {
  await redis.stop()
  await rm(folder, { recursive: true, force: true })
})

async function startWith(options: Readonly<Record<string, unknown>>, module?: string) {
  let tasks = tasksFile
  if (module !== undefined) {
    tasks = join(folder, `tasks-${Math.random().toString(36).slice(2)}.mjs`)
    await writeFile(tasks, module)
  }
  const settings = { tasks, redis: redis.url, threads: 1, namespace: 'starting', ...options }
  const child = spawnNode([script, workerEntry, JSON.stringify(settings)], { env: { REDIS_URL: undefined } })
  await child.exited
  return child.stdout.join('\n')
}

const tasks = `import { task } from 'millrace'
export const t = task('t', x => x)`

describe('startWorker', () => {
  it.each([
    ['a module that throws', `${tasks}\nfunction fails() { throw new RangeError('the table is empty') }\nfails()`],
    ['a setup that throws', `${tasks}\nexport async function setup() { throw new RangeError('the table is empty') }`],
  ])('rejects for %s with a TaskModuleError whose stack begins in the module', async (_, module) => {
    const printed = await startWith({}, module)
    expect(printed).toMatch(/^failed TASK_MODULE TaskModuleError: .*the table is empty/)
    expect(printed.split('\n').find(line => /^\s+at /.test(line))).toContain('tasks-')
  })

  it('rejects when a thread exits while it loads the module', async () => {
    expect(await startWith({}, `${tasks}\nprocess.exit(3)`)).toMatch(/^failed WORKER_START .*exit code 3/)
  })

  it('says what to do when it does not know where Redis is', async () => {
    expect(await startWith({ redis: undefined })).toMatch(/^failed USAGE .*REDIS_URL/)
  })

  it('refuses options that can not be used', async () => {
    expect(await startWith({ threads: 0 })).toMatch(/^failed USAGE .*threads can't be 0/)
  })

  it('gives each thread its own setup before its first task', async () => {
    await using lab = new Lab(redis)
    const file = join(folder, 'with-setup.mjs')
    await writeFile(
      file,
      `import { task } from 'millrace'
let seen
export function setup(ctx) { seen = ctx.thread }
export const which = task('which', () => seen)`,
    )
    await lab.startWorker({ tasks: file, threads: 2 })
    const seen = await lab.values(await lab.submit('which', 2000))
    expect(seen.every(thread => thread === 0 || thread === 1)).toBe(true)
  })
})

it('a worker whose process has more memory than its rssMb drains, hands back its work and says so', async () => {
  await using lab = new Lab(redis)
  const worker = await lab.startWorker({ rssMb: 64 })
  const [line] = await worker.waitForLine(/^failed .*/)
  expect(line).toMatch(/^failed WORKER_ENDED .*rssMb of 64/)
  await worker.exited
  expect(await lab.workerKeys()).toEqual([])
})

describe('a local worker', () => {
  const start = (lab: Lab, tasksUrl: string) => {
    const child = fork(fileURLToPath(new URL('worker/local.js', dist)), {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    killWithThisProcess(child.pid!)
    const message: StartLocalWorker = {
      type: 'start',
      target: redisTarget(redis.url),
      namespace: lab.namespace,
      queue: 'default',
      threads: 1,
      tasks: tasksUrl,
      launch: 'l1',
    }
    child.send(message)
    return child
  }

  it('says when it is ready, and goes when the channel closes, handing back what it runs', async () => {
    await using lab = new Lab(redis)
    const child = start(lab, pathToFileURL(tasksFile).href)
    const [ready] = (await once(child, 'message')) as [FromLocalWorker]
    expect(ready).toMatchObject({ type: 'ready', tasks: expect.arrayContaining(['square']) as unknown })
    lab.useHash(ready.type === 'ready' ? ready.hash : '')
    expect(await lab.values(await lab.submit('square', 10))).toHaveLength(10)
    const file = await recordFile()
    const job = await lab.submit('recorded', [{ file, ms: 60_000, x: 1 }])
    await until(async () => (await linesOf(file)).length > 0, { what: 'the task runs' })
    const started = performance.now()
    child.disconnect()
    const [code] = (await once(child, 'exit')) as [number]
    expect(code).toBe(0)
    expect(performance.now() - started).toBeLessThan(30_000)
    expect(await lab.waiting(job)).toBe(1)
  })

  it('says why it could not start', async () => {
    await using lab = new Lab(redis)
    const child = start(lab, 'file:///nowhere/tasks.ts')
    const [message] = (await once(child, 'message')) as [FromLocalWorker]
    expect(message).toMatchObject({ type: 'failed', code: 'TASK_MODULE' })
    expect(await once(child, 'exit')).toEqual([1, null])
  })
})
