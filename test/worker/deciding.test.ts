import { describe, expect, it } from 'vitest'
import { decodeChunk, encodeChunk, encodeHeader, encodeRangePayload } from '../../src/protocol/chunk.ts'
import type { ChunkHeader } from '../../src/protocol/chunk.ts'
import { decodeOutcome, encodeOutcome } from '../../src/protocol/outcome.ts'
import { encodeBatch, encodeValue } from '../../src/protocol/values.ts'
import { Board, partHash } from '../../src/worker/board.ts'
import { tailOf } from '../../src/worker/hand-back.ts'
import { inputsOf } from '../../src/protocol/inputs.ts'
import { Pace } from '../../src/worker/pace.ts'
import { chargedChunks, chargedTasks, judgeChunk, judgeWhole } from '../../src/worker/thread-death.ts'
import type { Charge } from '../../src/worker/thread-death.ts'
import { judge, sight } from '../../src/worker/watchdog.ts'

const header = (more: Partial<ChunkHeader> = {}): ChunkHeader => ({
  job: 'j',
  incarnation: 'i',
  first: 10,
  count: 5,
  base: 10,
  attempt: 1,
  deaths: 0,
  kind: 'pack',
  flags: 'plain',
  task: 't',
  ...more,
})
const limits = { retries: 1, timeoutMs: 100, backoffMs: 10, maxBackoffMs: 10, concurrency: 1 }
const context = { maxDeaths: 3, worker: 'host:1/0', limitsOf: () => limits, evidence: ['it fell over'] }
const chunkOf = (more: Partial<ChunkHeader> = {}) => {
  const all = header(more)
  return decodeChunk(
    encodeChunk(all, encodeBatch(Array.from({ length: all.count }, (_, i) => `input ${all.first + i}`))),
  )
}
const verdictOn = (charges: Readonly<Record<number, Charge>>, more: Partial<ChunkHeader> = {}) => {
  const charged = Object.entries(charges).map(([index, charge]) => ({
    hash: partHash(header()),
    index: Number(index),
    charge,
  }))
  return judgeChunk(chunkOf(more), charged, context)
}
const piecesOf = (verdict: ReturnType<typeof verdictOn>) =>
  verdict?.commit.retries.map(({ element, delayMs }) => {
    const { header: own, payload } = decodeChunk(element)
    return {
      first: own.first,
      inputs: inputsOf(own, payload),
      attempt: own.attempt,
      deaths: own.deaths,
      delayed: delayMs > 0,
    }
  })

describe('the end of a thread', () => {
  it('charges the task whose code was on the stack, alone in a chunk of one, and nobody else', () => {
    const verdict = verdictOn({ 12: 'death' })
    expect(verdict?.commit.chunks).toEqual([{ first: 10, attempt: 1, done: 5 }])
    expect(piecesOf(verdict)).toEqual([
      { first: 10, inputs: ['input 10', 'input 11'], attempt: 1, deaths: 0, delayed: false },
      { first: 12, inputs: ['input 12'], attempt: 1, deaths: 2, delayed: false },
      { first: 13, inputs: ['input 13', 'input 14'], attempt: 1, deaths: 0, delayed: false },
    ])
  })

  it('is the last of a task that had its share of deaths', () => {
    const verdict = verdictOn({ 10: 'death' }, { count: 1, deaths: 3 })
    expect(verdict?.commit.retries).toEqual([])
    expect(decodeOutcome(verdict!.commit.runs[0]!.bytes)).toMatchObject({
      code: 'TASK_QUARANTINED',
      evidence: ['it fell over', "its input was 'input 10'", 'it was in attempt 1'],
    })
    expect(verdict?.quarantined.map(({ index }) => index)).toEqual([10])
  })

  it('makes each of several candidates run alone, uncharged', () => {
    expect(piecesOf(verdictOn({ 10: 'suspect', 11: 'suspect' }))?.map(({ first, deaths }) => [first, deaths])).toEqual([
      [10, 1],
      [11, 1],
      [12, 0],
    ])
  })

  it('at a time limit is a retry with backoff while there are retries, then a failure', () => {
    expect(piecesOf(verdictOn({ 14: 'timeout' }))?.at(-1)).toEqual({
      first: 14,
      inputs: ['input 14'],
      attempt: 2,
      deaths: 0,
      delayed: true,
    })
    const last = verdictOn({ 14: 'timeout' }, { attempt: 2 })
    expect(decodeOutcome(last!.commit.runs[0]!.bytes)).toMatchObject({ code: 'TASK_TIMEOUT', attempt: 2 })
  })

  it('leaves a chunk as it is that none of its tasks is charged for', () => {
    expect(verdictOn({ 15: 'death' })).toBeUndefined()
  })

  it('keeps the payload of a range', () => {
    const range = { ...header({ kind: 'range' }) }
    const chunk = decodeChunk(encodeChunk(range, encodeRangePayload({ start: 0, step: 2 })))
    const verdict = judgeChunk(chunk, [{ hash: partHash(range), index: 12, charge: 'death' }], context)
    expect(piecesOf(verdict)?.map(({ inputs }) => inputs)).toEqual([[20, 22], [24], [26, 28]])
  })

  const onStack = () => {
    const board = new Board()
    board.open(0, '0123456789abcdef')
    board.size(0, 20)
    board.begin(0)
    board.showChunk(encodeHeader(header()), 8, 0)
    board.enter(10)
    return board
  }

  it('is told from the board: code on the stack, else the only task in progress, else all of them as suspects', () => {
    const hash = partHash(header())
    const board = onStack()
    board.addPending(0, hash, 77)
    expect(chargedTasks(board, undefined)).toEqual([{ hash, index: 12, charge: 'death' }])
    board.enter(-1)
    expect(chargedTasks(board, undefined)).toEqual([{ hash, index: 77, charge: 'death' }])
    board.addPending(1, hash, 78)
    expect(chargedTasks(board, undefined).map(({ charge }) => charge)).toEqual(['suspect', 'suspect'])
  })

  it('is charged to the whole chunk that was being read, and makes suspects of those that waited', () => {
    const hash = partHash(header())
    const board = onStack()
    board.addPending(0, hash, 77)
    board.enterReading(hash)
    // What waited beside it may have taken the memory: it runs alone next time, uncharged.
    expect(chargedTasks(board, undefined)).toEqual([{ hash, index: 77, charge: 'suspect' }])
    const chunks = chargedChunks(board, undefined)
    expect(chunks).toMatchObject({ charge: 'death', alone: false })
    board.removePending(0)
    expect(chargedTasks(board, undefined)).toEqual([])
    expect(chargedChunks(board, undefined)?.alone).toBe(true)
    expect([header(), header({ first: 20 }), header({ job: 'other' })].map(each => chunks?.has('any', each))).toEqual([
      true,
      false,
      false,
    ])
    board.enter(-1)
    expect(chargedChunks(board, undefined)).toBeUndefined()
  })

  it('is charged to the chunks of the claim whose results were being put together, unless they were cancelled', () => {
    const board = onStack()
    board.enterHandingIn('00000000deadbeef', partHash(header()))
    const chunks = chargedChunks(board, { kind: 'memory', megabytes: 9, rssMb: 8 })
    expect(chunks?.charge).toBe('memory')
    expect(['00000000deadbeef', '0123456789abcdef'].map(claim => chunks?.has(claim, header()))).toEqual([true, false])
    const { batch, task } = board.look()
    expect(chargedChunks(board, { kind: 'cancel', batch, task })).toBeUndefined()
    expect(chargedChunks(board, { kind: 'drain' })).toBeUndefined()
  })

  it('halves a chunk that is charged as a whole, until one task is alone with the blame', () => {
    const halves = judgeWhole(chunkOf(), 'death', true, context)
    expect(piecesOf(halves)?.map(({ first, inputs, deaths }) => [first, inputs.length, deaths])).toEqual([
      [10, 3, 1],
      [13, 2, 1],
    ])
    const single = { count: 1, deaths: 3 }
    expect(judgeWhole(chunkOf(single), 'death', true, context)?.quarantined).toHaveLength(1)
    expect(piecesOf(judgeWhole(chunkOf(single), 'death', false, context))).toMatchObject([{ deaths: 3 }])
  })

  it('charges nobody for a drain, nor when the thread had gone on from the task that it was ended for', () => {
    const board = onStack()
    const { batch } = board.look()
    expect(chargedTasks(board, { kind: 'drain' })).toEqual([])
    expect(chargedTasks(board, { kind: 'timeout', batch, task: 9 })).toEqual([])
    expect(chargedTasks(board, { kind: 'timeout', batch, task: 10 })).toHaveLength(1)
  })
})

describe('the watchdog', () => {
  const view = (task: number, batch = 1, timeoutMs = 100) => ({
    slot: 0 as const,
    batch,
    task,
    timeoutMs,
    expectedMs: 0,
  })

  it('ends a task that is seen on the stack for longer than its limit', () => {
    const first = sight(undefined, view(4), Infinity, 1000)
    expect(judge(view(4), sight(first, view(4), Infinity, 1100), 1100)).toBeUndefined()
    expect(judge(view(4), sight(first, view(4), Infinity, 1101), 1101)).toEqual({ kind: 'timeout', batch: 1, task: 4 })
  })

  it('begins to count anew with every task, and with every batch', () => {
    const first = sight(undefined, view(4), Infinity, 1000)
    for (const next of [view(5), view(4, 2)])
      expect(judge(next, sight(first, next, Infinity, 2000), 2000)).toBeUndefined()
  })

  it('knows no limit where there is none', () => {
    const first = sight(undefined, view(4, 1, 0), Infinity, 1000)
    expect(judge(view(4, 1, 0), sight(first, view(4, 1, 0), Infinity, 1e9), 1e9)).toBeUndefined()
  })

  it('ends a loop that stays past its deadline while no code is on the stack, not one that is late for a moment', () => {
    const early = sight(undefined, view(-1), 1000, 1200)
    expect(judge(view(-1), early, 1200)).toBeUndefined()
    const late = sight(early, view(-1), 1000, 1260)
    expect(judge(view(-1), late, 1260)).toBeUndefined()
    const recovered = sight(late, view(-1), 2000, 1300)
    expect(judge(view(-1), recovered, 1300)).toBeUndefined()
    expect(judge(view(-1), sight(late, view(-1), 1000, 1320), 1320)).toEqual({ kind: 'timeout', batch: 1, task: -1 })
  })
})

describe('the tail of a batch', () => {
  const lines = [
    header({ first: 0, count: 4, base: 0 }),
    header({ first: 4, count: 4, base: 4 }),
    header({ first: 8, count: 4, base: 8 }),
  ].map(encodeHeader)
  it.each([
    { taken: 0, kept: [], split: undefined, jobs: ['j'] },
    { taken: 1, kept: [0], split: [0, 1], jobs: ['j'] },
    { taken: 4, kept: [0], split: undefined, jobs: ['j'] },
    { taken: 6, kept: [0, 4], split: [4, 2], jobs: ['j'] },
    { taken: 11, kept: [0, 4, 8], split: [8, 3], jobs: [] },
    { taken: 12, kept: [0, 4, 8], split: undefined, jobs: [] },
  ])('after $taken taken tasks keeps the chunks $kept and splits $split', ({ taken, kept, split, jobs }) => {
    const tail = tailOf(lines, taken)
    expect(tail.kept.map(({ first }) => first)).toEqual(kept)
    expect(tail.split && [tail.split.header.first, tail.split.keep]).toEqual(split)
    expect(tail.jobs).toEqual(jobs)
  })
})

describe('the pace', () => {
  it('forgets its first sample, follows slower tasks at once and faster ones by halves', () => {
    const pace = new Pace()
    pace.add(1e6, 1)
    expect(pace.ns).toBe(1e6)
    pace.add(1000, 10)
    expect(pace.ns).toBe(100)
    pace.add(10_000, 10)
    expect(pace.ns).toBe(730)
    pace.add(30, 1)
    expect(pace.ns).toBe(380)
  })
})

describe('an outcome', () => {
  it('comes back as it was', () => {
    const outcome = {
      code: 'TASK_TIMEOUT',
      attempt: 3,
      worker: 'h:1/2',
      error: { kind: 'error', name: 'E', message: 'm', stack: '' },
      evidence: ['a'],
    } as const
    expect(decodeOutcome(encodeOutcome(outcome))).toEqual(outcome)
  })

  it('is a failure whatever the bytes', () => {
    for (const bytes of [
      Buffer.alloc(0),
      Buffer.from('garbage'),
      encodeValue(7),
      encodeValue({ code: 7, attempt: 'x', evidence: [1, 'e'] }),
    ]) {
      expect(decodeOutcome(bytes)).toMatchObject({ code: 'TASK_FAILED', attempt: 1, worker: '' })
    }
  })
})
