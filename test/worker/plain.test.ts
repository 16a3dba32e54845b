import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { spawnNode } from '../support/process.ts'
import type { NodeProcess } from '../support/process.ts'
import { startRedis } from '../support/redis.ts'
import type { RedisProcess } from '../support/redis.ts'
import { until } from '../support/until.ts'

/** Plain-Redis mode as a stranger uses it: raw commands on one side, the command line on the other. */

const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
let redis: RedisProcess
let folder: string
let tasks: string
let workers: NodeProcess[] = []

beforeAll(async () => {
  redis = await startRedis()
  folder = await mkdtemp(join(tmpdir(), 'millrace-plain-'))
  tasks = join(folder, 'tasks.ts')
  await writeFile(
    tasks,
    `import { task } from 'millrace'
     import { appendFileSync } from 'node:fs'
     import { parentPort } from 'node:worker_threads'
     export const work = task('work', async (input: unknown, ctx) => {
       appendFileSync(${JSON.stringify(join(folder, 'runs'))}, JSON.stringify(input) + '\\n')
       if (input === 'throws') throw new TypeError('no good')
       if (input === 'rejects') void Promise.reject(Object.create(null))
       if (input === 'posts') parentPort?.postMessage(null)
       if (input === 'exits') process.exit(3)
       if (input === 'kills' ) process.kill(process.pid, 'SIGKILL')
       if (typeof input === 'string' && input.startsWith('slow')) await new Promise(done => setTimeout(done, 100))
       if (typeof input === 'string' && input.startsWith('spin')) { const end = Date.now() + 60_000; while (Date.now() < end); }
       return typeof input === 'string' ? input.toUpperCase() : { sum: (input as number[]).reduce((a, b) => a + b, 0) }
     }, { timeoutMs: 1500 })`,
  )
})

beforeEach(async () => {
  await redis.cli('FLUSHALL')
  workers = []
})

afterEach(async () => {
  for (const worker of workers) worker.kill('SIGKILL')
  await Promise.all(workers.map(worker => worker.exited))
})

afterAll(async () => {
  await redis.stop()
  await rm(folder, { recursive: true, force: true })
})

async function startWorker(...more: string[]): Promise<NodeProcess> {
  const worker = spawnNode(
    [
      cli,
      'worker',
      tasks,
      '--redis',
      redis.url,
      '--threads',
      '2',
      '--plain-task',
      'work',
      '--plain-list',
      'task_queue',
      '--plain-results',
      'result_hash',
      '--plain-channel',
      'task_channel',
      '--no-restart',
      ...more,
    ],
    { cwd: folder },
  )
  workers.push(worker)
  await worker.waitForLine(/^ready/, 20_000)
  return worker
}

/** A worker with options that the command line does not have. It drains on SIGTERM. */
async function startEmbedded(more: Readonly<Record<string, unknown>>): Promise<NodeProcess> {
  const runner = join(folder, 'runner.mjs')
  await writeFile(
    runner,
    `import { startPlainWorker } from ${JSON.stringify(new URL('../../dist/worker/plain/index.js', import.meta.url).href)}
     const log = { info: console.error, warn: console.error }
     const worker = await startPlainWorker({ ...JSON.parse(process.argv[2]), log })
     process.once('SIGTERM', () => worker.drain().then(() => console.log('drained'), console.error))
     console.log('ready')`,
  )
  const options = { tasks, task: 'work', redis: redis.url, threads: 2, list: 'task_queue', results: 'result_hash' }
  const worker = spawnNode([runner, JSON.stringify({ ...options, ...more })], { cwd: folder })
  workers.push(worker)
  await worker.waitForLine(/^ready/, 20_000)
  return worker
}

const result = (field: string) => redis.cli('HGET', 'result_hash', field)
const results = async (count: number) =>
  until(async () => Number(await redis.cli('HLEN', 'result_hash')) === count, {
    what: `${count} results are there`,
  })

describe('plain-Redis mode', () => {
  it('gives the result of an element that any client pushed, under the element itself or its id', async () => {
    const worker = await startWorker()
    await redis.cli('LPUSH', 'task_queue', 'posts', 'rejects', 'task1', '{"id":"sum-7","input":[1,2,4]}', '{not json')
    await results(5)
    await worker.waitForLine(/a promise was rejected and nobody handled it/)
    expect(await result('task1')).toBe('TASK1')
    expect(await result('sum-7')).toBe('{"sum":7}')
    expect(await result('{not json')).toBe('{NOT JSON')
    expect(await redis.cli('EXISTS', 'task_queue', 'result_hash:errors')).toBe('0')
  })

  it('takes elements first in, first out', async () => {
    for (let i = 0; i < 10; i++) await redis.cli('LPUSH', 'task_queue', `fifo${i}`)
    await startWorker('--threads', '1')
    await results(10)
    const runs = (await readFile(join(folder, 'runs'), 'utf8')).split('\n').filter(line => line.includes('fifo'))
    expect(runs).toEqual(Array.from({ length: 10 }, (_, i) => `"fifo${i}"`))
  })

  it('puts the error of a failed element under the same field of the errors Hash, and goes on', async () => {
    await startWorker()
    await redis.cli('LPUSH', 'task_queue', 'throws', 'exits', 'spin', 'after')
    await until(async () => (await redis.cli('HLEN', 'result_hash:errors')) === '3', {
      what: 'three errors are there',
    })
    await results(1)
    const error = async (field: string) =>
      JSON.parse(await redis.cli('HGET', 'result_hash:errors', field)) as { name: string; message: string }
    expect(await error('throws')).toMatchObject({ name: 'TypeError', message: 'no good' })
    expect((await error('exits')).message).toContain('exit code 3')
    expect((await error('spin')).name).toBe('TaskTimeoutError')
  })

  it('loses no element when one of several workers is killed, and runs each of the others once', async () => {
    const [victim] = await Promise.all([startWorker(), startWorker(), startWorker()])
    const elements = Array.from({ length: 120 }, (_, i) => `slow${i}`)
    await redis.cli('LPUSH', 'task_queue', ...elements)
    await until(async () => Number(await redis.cli('HLEN', 'result_hash')) > 20, { what: 'some results are there' })
    victim.kill('SIGKILL')
    await results(120)
    for (const element of elements) expect(await result(element)).toBe(element.toUpperCase())
    const runs = (await readFile(join(folder, 'runs'), 'utf8')).split('\n').filter(line => line.startsWith('"slow'))
    // Only what the victim's two threads held, and at most one that was on its way to it, may have run twice.
    expect(runs.length - 120).toBeLessThanOrEqual(3)
  })

  it('waits, and says which key is not what it must be, while something else stands where the results go', async () => {
    const worker = await startWorker()
    await redis.cli('SET', 'result_hash', 'mine')
    await redis.cli('LPUSH', 'task_queue', ...Array.from({ length: 20 }, (_, i) => `e${i}`))
    await worker.waitForLine(
      /cannot write a result: "result_hash" holds a string and must be a hash, so that no result/,
    )
    await redis.cli('RENAME', 'result_hash', 'elsewhere')
    await results(20)
    expect(await redis.cli('GET', 'elsewhere')).toBe('mine')
    await redis.cli('SET', 'task_queue', 'mine')
    await worker.waitForLine(/cannot take elements: "task_queue" holds a string and must be a list, so that no element/)
    await redis.cli('DEL', 'task_queue')
    await redis.cli('LPUSH', 'task_queue', 'again')
    await results(21)
    // Not each element that waited was run again.
    const runs = (await readFile(join(folder, 'runs'), 'utf8')).split('\n').filter(line => /^"e\d+"$/.test(line))
    expect(runs).toHaveLength(20)
  })

  it('gives an error to what is nested too deeply to be handed to a thread, and runs on', async () => {
    await startWorker('--threads', '1')
    const deep = `{"id":"deep","input":${'['.repeat(30_000)}${']'.repeat(30_000)}}`
    await redis.cli('LPUSH', 'task_queue', deep, 'after')
    await results(1)
    expect(await redis.cli('HGET', 'result_hash:errors', 'deep')).toMatch(/ValueNotEncodableError/)
  })

  it('sets an element aside that kills its process again and again, without charging its neighbours', async () => {
    // With a short lease, since each of the four deaths has to be noticed.
    let done = false
    const keepRunning = async () => {
      while (!done) {
        const worker = await startEmbedded({ leaseMs: 1500 }).catch(() => undefined)
        await worker?.exited
      }
    }
    const running = keepRunning()
    await redis.cli('LPUSH', 'task_queue', 'kills', ...Array.from({ length: 10 }, (_, i) => `near${i}`))
    await until(async () => (await redis.cli('HEXISTS', 'result_hash:errors', 'kills')) === '1', {
      what: 'the killer is set aside',
    })
    await results(10)
    done = true
    workers.at(-1)?.kill('SIGKILL')
    await running
    expect(await redis.cli('HLEN', 'result_hash:errors')).toBe('1')
  })

  it('has every worker that listens run a message of the channel', async () => {
    await Promise.all([startWorker(), startWorker()])
    await redis.cli('PUBLISH', 'task_channel', 'reload')
    await results(2)
    const fields = (await redis.cli('HKEYS', 'result_hash')).split('\n')
    expect(fields.every(field => field.startsWith('reload@'))).toBe(true)
    expect(new Set(fields).size).toBe(2)
  })

  it('hands back what it has not finished when it is told to stop, and exits with 0', async () => {
    const worker = await startWorker()
    await redis.cli('LPUSH', 'task_queue', ...Array.from({ length: 50 }, (_, i) => `slow-d${i}`))
    await until(async () => Number(await redis.cli('HLEN', 'result_hash')) > 2, { what: 'some results are there' })
    worker.kill('SIGTERM')
    expect(await worker.exited).toEqual({ code: 0, signal: null })
    const [done, waiting] = [
      Number(await redis.cli('HLEN', 'result_hash')),
      Number(await redis.cli('LLEN', 'task_queue')),
    ]
    expect(done + waiting).toBe(50)
    expect(waiting).toBeGreaterThan(0)
  })

  it('goes on with a thread whose setup failed for a while when it took the place of another', async () => {
    const away = join(folder, 'away')
    const file = join(folder, 'with-setup.ts')
    await writeFile(
      file,
      `import { task } from 'millrace'
       import { existsSync } from 'node:fs'
       setInterval(() => undefined, 1000)
       export function setup() { if (existsSync(${JSON.stringify(away)})) throw new Error('the database is away') }
       export const work = task('work', (input: string) => input === 'exits' ? process.exit(3) : input, { retries: 0 })`,
    )
    const worker = await startEmbedded({ tasks: file, threads: 1, maxDeaths: 1 })
    await writeFile(away, '')
    await redis.cli('LPUSH', 'task_queue', 'exits')
    await worker.waitForLine(/the database is away/)
    await rm(away)
    await redis.cli('LPUSH', 'task_queue', 'back')
    await until(async () => (await result('back')) === 'back', { what: 'the thread runs again', timeoutMs: 30_000 })
  })

  it('stops while Redis is away, with heartbeats that wait for it', async () => {
    const worker = await startEmbedded({ leaseMs: 1500, drainMs: 2000, channel: 'task_channel' })
    await redis.kill('SIGKILL')
    try {
      worker.kill('SIGTERM')
      await worker.waitForLine(/^drained/, 20_000)
    } finally {
      await redis.restart()
    }
  })
})
