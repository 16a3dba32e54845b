import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Proxy } from '../../chaos/proxy.ts'
import { Signal } from '../../src/driver/signal.ts'
import {
  ConnectionClosedError,
  JobAlreadyConsumedError,
  JobCancelledError,
  range,
  task,
  TaskCancelledError,
  TaskError,
  UnencodableValueError,
  UnknownTaskError,
  UsageError,
} from '../../src/index.ts'
import { caught } from '../support/caught.ts'
import { until } from '../support/until.ts'
import { startBench } from './support/bench.ts'
import type { Bench } from './support/bench.ts'
import { add, echo, join, large, lookUp, note, nothing, refuse, set, square, text, wait } from './support/tasks.ts'

let bench: Bench
const mill = () => bench.mill

beforeAll(async () => {
  bench = await startBench()
})
afterAll(() => bench[Symbol.asyncDispose]())

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i)
const partKeysLeft = async () =>
  (await bench.redis.cli('--raw', 'KEYS', '*:part:*')).split('\n').filter(key => key !== '')

describe('run and submit', () => {
  test('give one result for one input', async () => {
    expect(await mill().run(square, 12)).toBe(144)
    expect(await mill().run(nothing)).toBe('done')
    expect(await mill().submit(square, 3).result()).toBe(9)
  })

  test('the calls of one turn are one job, and each gets its own result', async () => {
    const handles = numbers(1000).map(x => mill().submit(square, x))
    expect(new Set(handles.map(({ id }) => id.split('/')[0])).size).toBe(1)
    expect(await Promise.all(handles.map(handle => handle.result()))).toEqual(numbers(1000).map(x => x * x))
  })

  test('a failure is that of its own call, with where it was submitted and where it threw', async () => {
    const calls = [mill().run(refuse, 3), mill().run(refuse, 4)]
    const error = await caught(calls[0]!)
    expect(await calls[1]).toBe(4)
    expect(error).toBeInstanceOf(TaskError)
    expect(error).toMatchObject({ code: 'TASK_FAILED', message: 'no 3', task: 'refuse', index: 0, attempt: 1 })
    expect((error as Error).cause).toMatchObject({ name: 'RangeError', message: 'no 3' })
    expect((error as Error).stack).toMatch(/tasks\.ts:\d+[^]*submitted[^]*mill\.test\.ts:\d+/)
    expect((error as Error).stack).not.toMatch(/[/](src|dist)[/](driver|worker)[/]/)
  })

  test('an input that cannot travel is named by its path', async () => {
    const error = await caught(mill().run(echo, { rows: [1, () => 2] }))
    expect(error).toBeInstanceOf(UnencodableValueError)
    expect(error).toMatchObject({ path: '$[0].rows[1]' })
    expect((error as Error).stack).toMatch(/^UnencodableValueError: [^\n]+\n +at [^\n]*mill\.test\.ts:\d+/)
  })

  test('leave nothing behind in Redis', async () => {
    await Promise.all(numbers(20).map(x => mill().run(square, x)))
    await until(async () => (await partKeysLeft()).length === 0, { what: 'no keys of jobs are left' })
  })

  test('cancel of one stops it, and leaves its neighbours alone', async () => {
    const [first, second] = [mill().submit(wait, { ms: 60_000, value: 1 }), mill().submit(wait, { ms: 50, value: 2 })]
    await first.cancel()
    expect(await caught(first.result())).toBeInstanceOf(TaskCancelledError)
    expect(await second.result()).toBe(2)
    // The thread is free again long before the minute is over.
    const started = performance.now()
    await Promise.all([mill().run(square, 1), mill().run(square, 2), mill().run(square, 3)])
    expect(performance.now() - started).toBeLessThan(30_000)
  })

  test('cancel of one that waits takes it out before it runs', async () => {
    const file = joinPath(mkdtempSync(joinPath(tmpdir(), 'millrace-cancel-')), 'notes')
    const busy = [mill().run(wait, { ms: 500, value: 1 }), mill().run(wait, { ms: 500, value: 2 })]
    await until(async () => (await partKeysLeft()).length > 0, { what: 'the threads are busy' })
    const handles = numbers(40).map(line => mill().submit(note, { file, line: String(line) }))
    const middle = handles[25]!
    await new Promise(setImmediate)
    await middle.cancel()
    expect(await caught(middle.result())).toBeInstanceOf(TaskCancelledError)
    const others = await Promise.all(handles.filter(handle => handle !== middle).map(handle => handle.result()))
    expect(others).toEqual(
      numbers(40)
        .filter(i => i !== 25)
        .map(String),
    )
    expect(readFileSync(file, 'utf8').split('\n')).not.toContain('25')
    await Promise.all(busy)
  })

  test('a signal that was aborted before submits nothing', async () => {
    const error = await caught(mill().run(square, 1, { signal: AbortSignal.abort('why') }))
    expect(error).toMatchObject({ code: 'JOB_CANCELLED', cause: 'why' })
  })

  test('a signal that aborts later rejects and stops the task', async () => {
    const controller = new AbortController()
    const call = mill().run(wait, { ms: 60_000, value: 1 }, { signal: controller.signal })
    await until(async () => (await partKeysLeft()).length > 0, { what: 'the task is submitted' })
    controller.abort()
    expect(await caught(call)).toBeInstanceOf(TaskCancelledError)
    await until(async () => (await partKeysLeft()).length === 0, { what: 'it is gone' })
  })
})

describe('map', () => {
  test('iterates in input order, for arrays, generators, async generators and ranges', async () => {
    async function* generate() {
      for (let x = 0; x < 2000; x++) {
        if (x % 500 === 0) await sleep(1)
        yield x
      }
    }
    for (const inputs of [numbers(2000), new Set(numbers(2000)), generate(), range(2000)]) {
      const results: number[] = []
      for await (const y of mill().map(square, inputs)) results.push(y)
      expect(results).toEqual(numbers(2000).map(x => x * x))
    }
  })

  test('inputs that each take their time are sent while others are pulled', async () => {
    let pulled = 0
    function* slowly() {
      for (; pulled < 400; pulled++) {
        const end = performance.now() + 5
        while (performance.now() < end);
        yield pulled
      }
    }
    const results = mill().map(square, slowly())[Symbol.asyncIterator]()
    expect(await results.next()).toEqual({ done: false, value: 0 })
    expect(pulled).toBeLessThan(400)
    await results.return?.()
  })

  test('calls of next() that do not wait for each other are answered in order', async () => {
    const iterator = mill().map(square, range(5))[Symbol.asyncIterator]()
    const steps = await Promise.all(numbers(7).map(() => iterator.next()))
    expect(steps.map(({ value }) => value as number | undefined)).toEqual([0, 1, 4, 9, 16, undefined, undefined])
    expect(steps.map(({ done }) => done)).toEqual([false, false, false, false, false, true, true])
  })

  test('gives nothing for nothing', async () => {
    expect(await mill().map(square, []).results()).toEqual([])
    expect(await mill().map(square, range(0)).results()).toEqual([])
    expect(await mill().map(square, []).reduce(add, 7)).toBe(7)
  })

  test('many tasks come back whole', async () => {
    const results = await mill().map(square, range(10, 300_010)).results()
    expect(results.length).toBe(300_000)
    expect(results.every((y, i) => y === (i + 10) ** 2)).toBe(true)
  })

  test('{ ordered: false } gives pairs as tasks complete, a slow one last', async () => {
    const inputs = [{ ms: 400, value: 0 }, ...numbers(20).map(i => ({ ms: 1, value: i + 1 }))]
    const pairs: (readonly [number, number])[] = []
    for await (const pair of mill().map(wait, inputs, { ordered: false })) pairs.push(pair)
    expect(pairs.at(-1)).toEqual([0, 0])
    expect(pairs.map(([index]) => index).sort((a, b) => a - b)).toEqual(numbers(21))
    expect(pairs.every(([index, value]) => index === value)).toBe(true)
    // Its other consumers are in input order all the same.
    expect(await mill().map(square, [3, 2, 1], { ordered: false }).results()).toEqual([9, 4, 1])
  })

  test('results() rejects with the failure that is first by index, and settled() with none', async () => {
    expect(await caught(mill().map(refuse, range(20)).results())).toMatchObject({ index: 3, message: 'no 3' })
    const outcomes = await mill().map(refuse, range(10)).settled()
    expect(outcomes.map(({ status }) => status)).toEqual(numbers(10).map(x => (x % 5 === 3 ? 'rejected' : 'fulfilled')))
    expect(outcomes[8]).toMatchObject({ reason: { index: 8, task: 'refuse' } })
    await until(async () => (await partKeysLeft()).length === 0, { what: 'no keys of jobs are left' })
  })

  test('iteration throws at the failure, after what was before it', async () => {
    const seen: number[] = []
    const error = await caught(
      (async () => {
        for await (const x of mill().map(refuse, range(10))) seen.push(x)
      })(),
    )
    expect(seen).toEqual([0, 1, 2])
    expect(error).toMatchObject({ index: 3 })
  })

  test('results that are large are read from Redis when they are wanted', async () => {
    const inputs = numbers(12).map(fill => ({ bytes: 300_000, fill }))
    let index = 0
    for await (const buffer of mill().map(large, inputs)) {
      expect(buffer.equals(Buffer.alloc(300_000, index++))).toBe(true)
    }
    expect(index).toBe(12)
    expect((await mill().map(large, inputs).results()).map(buffer => buffer[0])).toEqual(numbers(12))
  })

  test('inputs that are large travel, and one that cannot is named by its index', async () => {
    const inputs = numbers(8).map(i => Buffer.alloc(500_000, i))
    const results = await mill().map(echo, inputs).results()
    expect(results.every((result, i) => inputs[i]!.equals(result as Buffer))).toBe(true)
    const error = await caught(
      mill()
        .map(echo, [1, 2, { on: Symbol('no') }, 4])
        .results(),
    )
    expect(error).toMatchObject({ code: 'VALUE_NOT_ENCODABLE', path: '$[2].on' })
    expect((error as Error).stack).toMatch(/^UnencodableValueError: [^\n]+\n +at [^\n]*mill\.test\.ts:\d+/)
    await until(async () => (await partKeysLeft()).length === 0, { what: 'no keys of jobs are left' })
  })

  test('what the inputs throw is what the consumer gets', async () => {
    function* failing() {
      yield 1
      throw new Error('no more')
    }
    expect(await caught(mill().map(square, failing()).results())).toMatchObject({ message: 'no more' })
  })

  test('{ shared } reaches every task', async () => {
    const keys = ['a', 'b', 'c', 'a']
    expect(
      await mill()
        .map(lookUp, keys, { shared: { a: 1, b: 2 } })
        .results(),
    ).toEqual([1, 2, -1, 1])
  })

  test('an endless iterable is pulled only as far as the window goes', async () => {
    let pulled = 0
    let returned = false
    function* endless() {
      try {
        for (;;) yield pulled++
      } finally {
        returned = true
      }
    }
    const job = mill().map(square, endless())
    const iterator = job[Symbol.asyncIterator]()
    expect(await iterator.next()).toEqual({ done: false, value: 0 })
    await until(async () => (await job.progress()).waitingFor?.includes('consumer') === true, {
      what: 'the window is full',
    })
    expect(pulled).toBeLessThan(400_000)
    let wrong = 0
    for (let i = 1; i < 300_000; i++) if ((await iterator.next()).value !== i * i) wrong++
    expect(wrong).toBe(0)
    await iterator.return?.()
    expect(returned).toBe(true)
  })

  test('inputs that end when all results are in end the job', async () => {
    let resolve: () => void = () => undefined
    const seen = new Promise<void>(done => (resolve = done))
    async function* inputs() {
      yield 5
      await seen
      await sleep(50)
    }
    const squares: number[] = []
    for await (const y of mill().map(square, inputs())) {
      squares.push(y)
      resolve()
    }
    expect(squares).toEqual([25])
  })

  test('break stops the pulling and what is running, and clears Redis', async () => {
    let returned = false
    async function* inputs() {
      try {
        for (let value = 0; ; value++) yield { ms: value === 0 ? 1 : 60_000, value }
      } finally {
        returned = true
      }
    }
    for await (const value of mill().map(wait, inputs())) if (value === 0) break
    expect(returned).toBe(true)
    await until(async () => (await partKeysLeft()).length === 0, { what: 'no keys of the job are left' })
    expect(await mill().run(square, 5)).toBe(25)
  })

  test('cancel() and an AbortSignal reject whoever waits', async () => {
    const job = mill().map(wait, [{ ms: 60_000, value: 1 }])
    const results = job.results()
    await until(async () => (await job.progress()).running === 1, { what: 'it runs' })
    await job.cancel()
    expect(await caught(results)).toBeInstanceOf(JobCancelledError)
    const controller = new AbortController()
    const aborted = mill()
      .map(wait, [{ ms: 60_000, value: 1 }], { signal: controller.signal })
      .results()
    controller.abort(new Error('enough'))
    expect(await caught(aborted)).toMatchObject({ code: 'JOB_CANCELLED', cause: { message: 'enough' } })
    // Both threads are free.
    await Promise.all([mill().run(wait, { ms: 300, value: 1 }), mill().run(wait, { ms: 300, value: 2 })])
  })

  test('a second consumer is refused', async () => {
    const job = mill().map(square, range(3))
    expect(await job.results()).toEqual([0, 1, 4])
    expect(await caught(job.settled())).toBeInstanceOf(JobAlreadyConsumedError)
    expect(await caught(job[Symbol.asyncIterator]().next())).toBeInstanceOf(JobAlreadyConsumedError)
  })

  test('progress() counts, and says what is waited for', async () => {
    // They run until they are cancelled: a thread may still be starting anew after what was cancelled before.
    const job = mill().map(
      wait,
      numbers(3).map(value => ({ ms: 60_000, value })),
    )
    const results = caught(job.results())
    const progress = await until(
      async () => {
        const now = await job.progress()
        return now.running >= 2 ? now : undefined
      },
      { what: 'two run' },
    )
    expect(progress).toMatchObject({ total: 3, submitted: 3, done: 0, failed: 0, waitingFor: undefined })
    expect(progress.waiting + progress.running).toBe(3)
    await job.cancel()
    expect(await results).toBeInstanceOf(JobCancelledError)
  })
})

describe('reduce', () => {
  test('with a reducer in the turn of map combines on the workers, and initial enters once', async () => {
    const looked = new Signal()
    async function* inputs() {
      yield* numbers(99_999)
      // The job must not be over before its record has been looked at.
      await looked.wait()
      yield 99_999
    }
    const job = mill().map(square, inputs())
    const sum = job.reduce(add, 1000)
    const reducerName = await until(() => bench.redis.cli('HGET', `{millrace:default:0}:part:${job.id}`, 'reducer'), {
      what: 'the job is there',
    })
    looked.fire()
    expect(reducerName).toBe('add')
    expect(await sum).toBe(numbers(100_000).reduce((total, x) => total + x * x, 1000))
  })

  test('keeps the order of an operation that does not commute', async () => {
    const expected = `>${numbers(5000)
      .map(x => `<${x}>`)
      .join('')}`
    expect(await mill().map(text, range(5000)).reduce(join, '>')).toBe(expected)
  })

  test('later, or with a plain function, is a strict fold from the left', async () => {
    const job = mill().map(square, range(100))
    await sleep(0)
    await new Promise(setImmediate)
    expect(await job.reduce(add, 1)).toBe(numbers(100).reduce((total, x) => total + x * x, 1))
    expect(
      await mill()
        .map(square, range(5))
        .reduce((list: string, y) => `(${list} ${y})`, ''),
    ).toBe('((((( 0) 1) 4) 9) 16)')
  })

  test('rejects with the first failure', async () => {
    expect(await caught(mill().map(refuse, range(50)).reduce(add, 0))).toMatchObject({ index: 3 })
  })

  test('an accumulator that can not be stored is refused', async () => {
    const results = mill()
      .map(square, range(10))
      .reduce((list: (() => number)[], y) => [...list, () => y], [])
    expect(await caught(results)).toBeInstanceOf(UnencodableValueError)
  })
})

describe('broadcast', () => {
  test('runs once in every thread and gives each answer', async () => {
    const answers = await mill().broadcast(set, 'first')
    expect(answers.map(answer => ('value' in answer ? answer.value : answer.error))).toEqual(['unset', 'unset'])
    expect(answers.map(({ thread }) => thread)).toEqual([0, 1])
    const again = await mill().broadcast(set, 'bad')
    expect(again.map(answer => ('error' in answer ? answer.error : undefined))).toMatchObject([
      { name: 'TypeError', message: 'bad value' },
      { name: 'TypeError', message: 'bad value' },
    ])
  })
})

describe('the fleet', () => {
  test('is listed, and Redis is asked for snapshots and durability', async () => {
    const workers = await mill().workers()
    expect(workers).toMatchObject([{ threads: 2 }])
    expect(workers[0]?.tasks).toContain('square')
    expect((await mill().durability()).aof).toBe('off')
    expect((await mill().snapshot()).durationMs).toBeGreaterThanOrEqual(0)
  })

  test('a driver without the module finds the code by its workers', async () => {
    const other = await bench.connect({ tasks: undefined as never })
    expect(await other.run(square, 4)).toBe(16)
  })

  test('a task that the module does not export is refused', async () => {
    const stray = task('stray', (x: number) => x)
    expect(await caught(mill().run(stray, 1))).toBeInstanceOf(UnknownTaskError)
  })

  test('a task that nobody knows waits, and says for whom', async () => {
    const other = await bench.connect({ tasks: undefined as never })
    const job = other.map(
      task('nobody', (x: number) => x),
      [1],
    )
    await until(async () => (await job.progress()).waitingFor === 'a worker that knows the task "nobody"', {
      what: 'it says so',
    })
    await job.cancel()
    expect(await caught(job.results())).toBeInstanceOf(JobCancelledError)
  })
})

describe('close', () => {
  test('rejects what is pending, refuses what comes, and can be called twice', async () => {
    const other = await bench.connect()
    const pending = other.map(wait, [{ ms: 60_000, value: 1 }]).results()
    const call = other.run(wait, { ms: 60_000, value: 1 })
    const both = Promise.all([caught(pending), caught(call)])
    await until(async () => (await partKeysLeft()).length === 2, { what: 'both are submitted' })
    await Promise.all([other.close(), other.close()])
    for (const error of await both) expect(error).toBeInstanceOf(ConnectionClosedError)
    expect(() => other.submit(square, 1)).toThrow(ConnectionClosedError)
    expect(() => other.map(square, [1])).toThrow(ConnectionClosedError)
    expect(await partKeysLeft()).toEqual([])
  })

  test('while Redis is away ends what waits for it', async () => {
    const proxy = new Proxy(bench.redis.socketPath)
    const other = await bench.connect({ redis: await proxy.listen() })
    const job = other.map(wait, [{ ms: 60_000, value: 1 }])
    const iteration = caught(Promise.resolve(job[Symbol.asyncIterator]().next()))
    await job.submitted()
    await proxy.close()
    const questions = Promise.all([
      caught(other.attach('nothing')),
      caught(other.workers()),
      caught(other.durability()),
      caught(job.progress()),
    ])
    await other.close()
    expect(await iteration).toBeInstanceOf(ConnectionClosedError)
    for (const error of await questions) expect(error).toBeInstanceOf(ConnectionClosedError)
    await job.cancel()
  })

  test('wrong arguments are refused in words', async () => {
    expect(() => mill().map(square, 5 as never)).toThrow(UsageError)
    expect(() => mill().map('square' as never, [1])).toThrow(UsageError)
    expect(() => mill().map(square, [1], { id: 'no spaces' })).toThrow(UsageError)
    expect(await caught(mill().run(square, 1, { priority: 1e6 }))).toBeInstanceOf(UsageError)
  })
})

test('each task ran once', async () => {
  const file = joinPath(mkdtempSync(joinPath(tmpdir(), 'millrace-note-')), 'notes')
  await mill()
    .map(
      note,
      numbers(500).map(line => ({ file, line: String(line) })),
    )
    .results()
  const lines = readFileSync(file, 'utf8').trim().split('\n')
  expect(lines.length).toBe(500)
  expect(new Set(lines).size).toBe(500)
})
