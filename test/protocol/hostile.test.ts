import { afterAll, describe, expect, it } from 'vitest'
import { MalformedDataError } from '../../src/errors.ts'
import { decodeAnswer, encodeAnswer, encodeFailedAnswer } from '../../src/protocol/answer.ts'
import {
  decodeChunk,
  decodeRangePayload,
  encodeChunk,
  encodeRangePayload,
  maxChunkTasks,
} from '../../src/protocol/chunk.ts'
import type { ChunkHeader } from '../../src/protocol/chunk.ts'
import { decodeControl, encodeControl } from '../../src/protocol/control.ts'
import {
  decodeProcessEnd,
  decodeQuarantined,
  encodeEvidence,
  encodeProcessEnd,
  processEnd,
} from '../../src/protocol/evidence.ts'
import { describeFailure, reviveFailure } from '../../src/protocol/failure.ts'
import { inputPreview, inputsOf } from '../../src/protocol/inputs.ts'
import { decodeOutcome, encodeOutcome } from '../../src/protocol/outcome.ts'
import { readPlainElement } from '../../src/protocol/plain.ts'
import {
  decodePartRecord,
  decodeWorkerInfo,
  decodeWorkerStats,
  partFieldArguments,
} from '../../src/protocol/records.ts'
import {
  decodeCollectorMessage,
  decodeRun,
  encodeAnswered,
  heldRunValue,
  newHeldField,
  runValue,
  unreadRun,
} from '../../src/protocol/run.ts'
import { decodeValue, encodeBatch, encodeValue } from '../../src/protocol/values.ts'
import { plainFields, workerInfo } from '../store/support/lane.ts'
import { mutated, seeded, surroundings, textual, withOddWord } from './support/mutations.ts'

const cases = 12_000

interface Reader {
  readonly originals: readonly Buffer[]
  /** Reads, and fails when what it read is not what it may be. Says whether the bytes were accepted. */
  readonly read: (bytes: Buffer, next: () => number) => boolean
}

const header: ChunkHeader = {
  job: 'nightly-2026:a.b',
  incarnation: 'c0ffee12',
  first: 120,
  count: 16,
  base: 100,
  attempt: 2,
  deaths: 1,
  kind: 'pack',
  flags: 'both',
  task: 'score the row',
}
const pack = encodeChunk(header, encodeBatch(Array.from({ length: 36 }, (_, i) => ({ i, text: 'row' }))))
const range = encodeChunk({ ...header, kind: 'range', flags: 'plain' }, encodeRangePayload({ start: -1.5, step: 1e-3 }))
const failure = encodeOutcome({
  code: 'TASK_QUARANTINED',
  attempt: 3,
  worker: 'host:1/2',
  error: describeFailure(Object.assign(new TypeError('no', { cause: [1, 2] }), { code: 'E1', at: { row: 7 } })),
  evidence: ['exit code 7', 'log: about to exit'],
})
const valuesRun = (count: number) =>
  Buffer.concat(runValue({ count, kind: 'values', bytes: encodeBatch(Array.from({ length: count }, (_, i) => i)) }))
const message = Buffer.concat([
  Buffer.from('results job c0ffee12 17 2500.5\n'),
  Buffer.from(`3 ${valuesRun(4).length}\n`),
  valuesRun(4),
  Buffer.from('99 - 4 values 123\n'),
])

/** Runs the reader; only a typed refusal may be thrown. */
function accepts(read: () => void): boolean {
  try {
    read()
    return true
  } catch (error) {
    if (error instanceof MalformedDataError) return false
    throw error
  }
}

const isCount = (value: number, most = 2 ** 53) => Number.isSafeInteger(value) && value >= 0 && value < most

function mustBe(holds: boolean, what: string): void {
  if (!holds) throw new Error(`accepted ${what}`)
}

const readers: Readonly<Record<string, Reader>> = {
  'a chunk, with its inputs': {
    originals: [pack, range],
    read: bytes =>
      accepts(() => {
        const { header, payload } = decodeChunk(bytes)
        const { first, count, base, attempt, deaths } = header
        mustBe([first, count, base].every(n => isCount(n)) && count > 0 && base <= first, 'a header without sense')
        mustBe(isCount(attempt) && isCount(deaths), 'a count of attempts that is none')
        mustBe(inputPreview(header, payload).length <= 400, 'a long preview')
        // What claims cut before it comes to a thread.
        if (count <= maxChunkTasks) mustBe(inputsOf(header, payload).length === count, 'a chunk without its inputs')
      }),
  },
  'the payload of a range': {
    originals: [encodeRangePayload({ start: 0, step: 1 }), encodeRangePayload({ start: -1e300, step: 2.5 })],
    read: bytes =>
      accepts(() => {
        const { start, step } = decodeRangePayload(bytes)
        mustBe(Number.isFinite(start) && Number.isFinite(step), 'a range without end')
      }),
  },
  'a run of the results Hash': {
    originals: [
      valuesRun(3),
      Buffer.concat(runValue({ count: 1, kind: 'failure', bytes: failure })),
      Buffer.from(heldRunValue(2, newHeldField(), 1_000_000)),
    ],
    read: (bytes, next) =>
      accepts(() => {
        const field = next() % 4 === 0 ? bytes.toString('latin1', 0, 6) : String(next())
        const run = decodeRun(field, bytes)
        mustBe(isCount(run.first) && isCount(run.count) && run.count > 0, 'a run without sense')
        if ('bytes' in run) mustBe(run.bytes.length < bytes.length, 'more bytes than there were')
        else mustBe(isCount(run.valueBytes) && /^r:\w{1,64}$/.test(run.held ?? ''), 'a held run that is nowhere')
      }),
  },
  'a run without its bytes': {
    originals: ['0 4 values 99', '12 1 failure 4096', '3 1 held r:c0ffee 4096'].map(words => Buffer.from(words)),
    read: bytes =>
      accepts(() => {
        const [field = '', count, kind = '', valueBytes] = bytes.toString('latin1').split(' ')
        const run = unreadRun(field, count, kind, valueBytes)
        mustBe(isCount(run.first) && isCount(run.count) && isCount(run.valueBytes), 'a run without sense')
      }),
  },
  'a message to workers': {
    originals: [
      encodeControl({ type: 'work', lane: 3, chunks: 12 }),
      encodeControl({ type: 'cancel', job: 'job', incarnation: 'c0ffee', index: 17 }),
      encodeControl({ type: 'joined', worker: 'w1' }),
      encodeControl({
        type: 'broadcast',
        id: 'b1',
        hash: 'c0de',
        lane: 0,
        deadlineMs: 5000,
        replyChannel: 'ns:q:collector:c',
        task: 'reload the table',
        input: encodeValue({ file: 'x' }),
      }),
    ],
    read: bytes => {
      const decoded = decodeControl(bytes)
      if (decoded?.type === 'cancel') mustBe(decoded.index === undefined || isCount(decoded.index), 'an odd index')
      if (decoded?.type === 'broadcast') {
        const { deadlineMs, lane, input } = decoded
        mustBe(isCount(deadlineMs) && deadlineMs > 0 && isCount(lane, 1e9), 'a broadcast without sense')
        mustBe(input.length < bytes.length, 'more bytes than there were')
      }
      return decoded !== undefined
    },
  },
  'a message to a collector': {
    originals: [message, Buffer.from('replaced job c0ffee\n'), encodeAnswered('b1', 'w1/0')],
    read: bytes =>
      accepts(() => {
        const decoded = decodeCollectorMessage(bytes)
        if (decoded.type !== 'results') return
        mustBe(isCount(decoded.settled) && Number.isFinite(decoded.paceNs) && decoded.paceNs >= 0, 'odd numbers')
        for (const { first, count } of [...decoded.runs, ...decoded.unread])
          mustBe(isCount(first) && isCount(count) && count > 0, 'a run without sense')
      }),
  },
  "a part's record": {
    // Fields and values by turns, one a line.
    originals: [
      Buffer.from(
        [...partFieldArguments(plainFields), 'state', 'open', 'submitted', '7', 'settled', '3', 'cursor', '3'].join(
          '\n',
        ),
      ),
    ],
    read: bytes =>
      accepts(() => {
        const words = bytes.toString('latin1').split('\n')
        const fields = new Map<string, Buffer>()
        for (let i = 0; i + 1 < words.length; i += 2) fields.set(words[i]!, Buffer.from(words[i + 1]!, 'latin1'))
        const record = decodePartRecord(fields)
        const { submitted, settled, failed, released, waiting, cursor, pace, priority } = record
        for (const count of [submitted, settled, failed, released, waiting, cursor]) mustBe(isCount(count), 'a count')
        mustBe(Number.isFinite(pace) && pace >= 0 && Number.isInteger(priority), 'a pace or priority')
      }),
  },
  "a worker's description": {
    originals: [Buffer.from(JSON.stringify(workerInfo('w1', { reducers: ['add'], tasks: ['a', 'b'] })))],
    read: bytes =>
      accepts(() => {
        const { host, pid, threads, tasks } = decodeWorkerInfo(bytes.toString('utf8'))
        mustBe(typeof host === 'string' && isCount(pid) && isCount(threads, 100_000), 'odd numbers')
        mustBe(tasks.every(name => typeof name === 'string') && tasks.length <= 10_000, 'odd names')
      }),
  },
  "what a worker's last heartbeat said": {
    originals: [Buffer.from(JSON.stringify({ busy: 1, settled: 99, rssBytes: 123_456_789, lines: ['a', 'b'] }))],
    read: bytes => {
      const { busy, settled, rssBytes, lines } = decodeWorkerStats(bytes.toString('utf8'))
      mustBe(
        [busy, settled, rssBytes].every(n => Number.isFinite(n) && n >= 0),
        'odd numbers',
      )
      mustBe(areFewLines(lines), 'odd lines')
      return rssBytes > 0
    },
  },
  "how a worker's process ended": {
    originals: [Buffer.from(encodeProcessEnd(processEnd(null, 'SIGKILL', ['a line', 'another'])))],
    read: bytes => {
      const end = decodeProcessEnd(bytes.toString('utf8'))
      if (end === undefined) return false
      mustBe(typeof end.how === 'string' && end.how.length <= 300 && areFewLines(end.lines), 'odd words')
      return true
    },
  },
  'the failure of a task': {
    originals: [failure],
    read: bytes => {
      const { code, attempt, worker, error, evidence = [] } = decodeOutcome(bytes)
      mustBe(typeof code === 'string' && typeof worker === 'string' && attempt > 0, 'odd facts')
      mustBe(
        evidence.every(line => typeof line === 'string'),
        'odd evidence',
      )
      const revived = reviveFailure(error)
      mustBe(revived instanceof Error && typeof revived.message === 'string', 'something that is no Error')
      mustBe(Object.getPrototypeOf(revived) === Error.prototype, 'an Error of another class')
      return code === 'TASK_QUARANTINED'
    },
  },
  'an entry of the quarantine': {
    originals: [
      Buffer.concat([
        Buffer.from(
          `${encodeEvidence({ at: 1_700_000_000_000, worker: 'host:1/2', evidence: ['exit code 7', 'x'] })}\n`,
        ),
        pack,
      ]),
    ],
    read: (bytes, next) => {
      const field = next() % 4 === 0 ? bytes.toString('latin1', 0, 20) : 'job:7'
      const { at, worker, evidence, index, job } = decodeQuarantined(field, bytes)
      mustBe(Number.isFinite(at) && typeof worker === 'string' && typeof job === 'string', 'odd facts')
      mustBe(
        evidence.every(line => typeof line === 'string'),
        'odd evidence',
      )
      mustBe(Number.isNaN(index) || isCount(index), 'an odd index')
      return evidence.length > 0
    },
  },
  'an element of plain-Redis mode': {
    originals: ['{"id":"42","input":{"rows":[1,2,3]}}', '{"id":7,"input":"x"}', 'task1'].map(text => Buffer.from(text)),
    read: bytes => {
      const { field, input } = readPlainElement(bytes)
      mustBe(Buffer.isBuffer(field), 'a field that is none')
      mustBe(typeof input !== 'function', 'a function')
      return typeof input !== 'string'
    },
  },
  'an answer to a broadcast': {
    originals: [encodeAnswer({ rows: [1, 2] }), encodeFailedAnswer(new RangeError('no'))],
    read: bytes => {
      const answer = decodeAnswer(bytes)
      if ('error' in answer) mustBe(answer.error instanceof Error, 'something that is no Error')
      return 'value' in answer
    },
  },
  'the accumulator of a reduction': {
    originals: [encodeValue({ sum: 12, parts: [1, 2, 3] }), encodeValue(new Map([['a', 1n]]))],
    read: bytes => accepts(() => decodeValue(bytes)),
  },
}

const counted: string[] = []
afterAll(() => {
  console.log(`fuzzed readers (seed 11): ${counted.join('; ')}`)
})

describe(`any bytes are safe to read, ${cases} times each`, () => {
  it.each(Object.entries(readers))('%s', (name, { originals, read }) => {
    const next = seeded(11)
    const before = surroundings()
    let accepted = 0
    let slowestMs = 0
    for (let i = 0; i < cases; i++) {
      const bytes = caseOf(originals, next)
      const started = performance.now()
      try {
        if (read(bytes, next)) accepted++
      } catch (error) {
        throw new Error(`case ${i}: ${(error as Error).message}, for ${JSON.stringify(bytes.toString('latin1'))}`, {
          cause: error,
        })
      }
      slowestMs = Math.max(slowestMs, performance.now() - started)
    }
    counted.push(`${name} ${accepted}/${cases} accepted`)
    expect(surroundings()).toBe(before)
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
    // Some are accepted and some are not, or nothing but the first byte was tried.
    expect(accepted).toBeGreaterThan(0)
    expect(accepted).toBeLessThan(cases)
    expect(slowestMs).toBeLessThan(2000)
  })
})

function caseOf(originals: readonly Buffer[], next: () => number): Buffer {
  const original = originals[next() % originals.length]!
  switch (next() % 5) {
    case 0:
      return Buffer.from(Array.from({ length: next() % 80 }, () => next() & 0xff))
    case 1:
      return original.subarray(0, next() % (original.length + 1))
    case 2:
      return withOddWord(original, next)
    default:
      return mutated(original, originals[next() % originals.length]!, next, textual)
  }
}

function areFewLines(lines: readonly unknown[]): boolean {
  return lines.length <= 20 && lines.every(line => typeof line === 'string' && line.length <= 300)
}
