import { existsSync, mkdtempSync } from 'node:fs'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Proxy } from '../../chaos/proxy.ts'
import {
  ConnectionClosedError,
  JobAlreadyConsumedError,
  JobCancelledError,
  JobConflictError,
  task,
  TaskCancelledError,
  UnknownTaskError,
} from '../../src/index.ts'
import type { Mill } from '../../src/index.ts'
import { caught } from '../support/caught.ts'
import { until } from '../support/until.ts'
import { startBench } from './support/bench.ts'
import type { Bench } from './support/bench.ts'
import { note, same, wait } from './support/tasks.ts'

let bench: Bench
let monitor: Socket
/** The commands that Redis runs, in order. */
const commands: string[] = []

beforeAll(async () => {
  bench = await startBench()
  monitor = connect(bench.redis.socketPath)
  monitor.write('MONITOR\r\n')
  createInterface({ input: monitor }).on('line', line => commands.push(line))
  await until(() => commands.includes('+OK'), { what: 'Redis tells what it runs' })
})
afterAll(async () => {
  monitor.destroy()
  await bench[Symbol.asyncDispose]()
})

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i)
const nobody = task('nobody', (x: number) => x)
const newFile = () => join(mkdtempSync(join(tmpdir(), 'millrace-opening-')), 'notes')

/** Endless inputs, and what was done with them. */
function watchedInputs() {
  const seen = { pulled: 0, closed: 0 }
  const iterator: Iterator<number> = {
    next: () => ({ done: false, value: seen.pulled++ }),
    return: () => {
      seen.closed++
      return { done: true, value: undefined }
    },
  }
  return { seen, inputs: { [Symbol.iterator]: () => iterator } }
}

describe('a job that is cancelled before it is open', () => {
  test('pulls no inputs, closes them, and sends nothing', async () => {
    const { seen, inputs } = watchedInputs()
    const job = bench.mill.map(same, inputs, { signal: AbortSignal.abort() })
    expect(await caught(job.results())).toBeInstanceOf(JobCancelledError)
    // Whatever it had sent would be there before this.
    expect(await bench.mill.run(same, 1)).toBe(1)
    await until(() => commands.some(line => line.includes('"same"')), { what: 'the call was seen' })
    expect(seen).toEqual({ pulled: 0, closed: 1 })
    expect(commands.filter(line => line.includes(job.id))).toEqual([])
  })

  test('never runs when it is a single call', async () => {
    const file = newFile()
    const handle = bench.mill.submit(note, { file, line: 'it ran' })
    await handle.cancel()
    expect(await caught(handle.result())).toBeInstanceOf(TaskCancelledError)
    expect(await bench.mill.run(same, 2)).toBe(2)
    const [id = ''] = handle.id.split('/')
    expect(commands.filter(line => line.includes(id))).toEqual([])
    expect(existsSync(file)).toBe(false)
  })

  test('ends when its iteration does, whoever it waits for', async () => {
    const other = await bench.connect({ tasks: undefined as never })
    const left = other.map(nobody, [1])
    const iterator = left[Symbol.asyncIterator]()
    const next = caught(Promise.resolve(iterator.next()))
    expect(await iterator.return?.()).toMatchObject({ done: true })
    expect(await next).toBeInstanceOf(JobCancelledError)
    const stream = Readable.from(other.map(nobody, [1]))
    const closed = new Promise(resolve => stream.once('close', resolve))
    stream.read()
    stream.destroy()
    await closed
    expect((await left.progress()).waitingFor).toBeUndefined()
  })

  test('is not cancelled by whoever was refused as its second consumer', async () => {
    const job = bench.mill.map(same, numbers(3))
    const results = job.results()
    expect(await caught(Promise.resolve(job[Symbol.asyncIterator]().return?.()))).toBeInstanceOf(
      JobAlreadyConsumedError,
    )
    expect(await results).toEqual(numbers(3))
  })
})

describe('inputs', () => {
  test('are closed when their job does not come to be', async () => {
    const id = 'another-task'
    await bench.mill.map(same, [1], { id, detached: true }).submitted()
    const [taken, unknown] = [watchedInputs(), watchedInputs()]
    expect(await caught(bench.mill.map(wait, taken.inputs as never, { id }).results())).toBeInstanceOf(JobConflictError)
    const stray = bench.mill.map(
      task('stray', (x: number) => x),
      unknown.inputs,
    )
    expect(await caught(stray.results())).toBeInstanceOf(UnknownTaskError)
    for (const { seen } of [taken, unknown]) expect(seen).toEqual({ pulled: 0, closed: 1 })
    expect((await stray.progress()).waitingFor).toBeUndefined()
    await (await bench.mill.attach(id)).cancel()
  })

  test('whose own code ends the job are closed once they have given the next', async () => {
    let closed = false
    const controller = new AbortController()
    function* inputs() {
      try {
        yield 1
        controller.abort()
        yield 2
      } finally {
        closed = true
      }
    }
    const job = bench.mill.map(same, inputs(), { signal: controller.signal })
    expect(await caught(job.results())).toBeInstanceOf(JobCancelledError)
    expect(closed).toBe(true)
  })
})

describe('close', () => {
  /** Closes a connection whose question for the job is answered while it says goodbye. */
  async function closeDuring(id: string, ask: (mill: Mill) => Promise<unknown>): Promise<unknown> {
    await bench.mill.map(same, numbers(5), { id, detached: true }).submitted()
    const proxy = new Proxy(bench.redis.socketPath)
    const mill = await bench.connect({ redis: await proxy.listen() })
    // The goodbye to this one is answered after what is asked now.
    const other = mill.map(wait, [{ ms: 60_000, value: 1 }])
    const ended = caught(other.results())
    await until(async () => (await other.progress()).running > 0, { what: 'it runs' })
    const collector = () => bench.redis.cli('HGET', `{millrace:default:0}:part:${id}`, 'collector')
    const before = await collector()
    proxy.setMode({ kind: 'delay', ms: 200 })
    const asked = ask(mill)
    asked.catch(() => undefined)
    await until(async () => (await collector()) !== before, { what: 'it has attached' })
    await mill.close()
    expect(await ended).toBeInstanceOf(ConnectionClosedError)
    await proxy.close()
    return caught(asked)
  }

  test.each<[string, (mill: Mill) => Promise<unknown>]>([
    ['the same id', mill => mill.map(same, numbers(5), { id: 'the-same-id', detached: true }).results()],
    ['attach', async mill => (await mill.attach('attach', same)).results()],
  ])('while a job opens leaves it for the next, and says so: %s', async (how, ask) => {
    const id = how.replaceAll(' ', '-')
    expect(await closeDuring(id, ask)).toBeInstanceOf(ConnectionClosedError)
    expect(await (await bench.mill.attach(id, same)).results()).toEqual(numbers(5))
  })
})
