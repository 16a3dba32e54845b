import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeChunk } from '../../src/protocol/chunk.ts'
import type { ChunkHeader } from '../../src/protocol/chunk.ts'
import { describeFailure } from '../../src/protocol/failure.ts'
import { decodeOutcome } from '../../src/protocol/outcome.ts'
import { decodeBatch, decodeValue, encodeBatch } from '../../src/protocol/values.ts'
import { buildCommits, commitLimits } from '../../src/worker/commit.ts'
import type { FinishedChunk, TaskEnd } from '../../src/worker/commit.ts'
import { inputsOf } from '../../src/protocol/inputs.ts'

const header = (first: number, count: number, more: Partial<ChunkHeader> = {}): ChunkHeader => ({
  job: 'j',
  incarnation: 'i',
  first,
  count,
  base: first,
  attempt: 1,
  deaths: 0,
  kind: 'pack',
  flags: 'plain',
  task: 't',
  ...more,
})

const finished = (first: number, results: readonly unknown[], more: Partial<FinishedChunk> = {}): FinishedChunk => ({
  header: header(first, results.length),
  payload: encodeBatch(results.map((_, i) => `input ${first + i}`)),
  done: results.length,
  results,
  ends: new Map(),
  ...more,
})

const failure: TaskEnd = { kind: 'failure', code: 'TASK_FAILED', error: describeFailure(new Error('no')) }
const retry: TaskEnd = { kind: 'retry', delayMs: 50 }
const build = (chunks: readonly FinishedChunk[], limits = commitLimits) => buildCommits(chunks, 'host:1/0', limits)

describe('a commit', () => {
  it('merges the consecutive results of several chunks into one run', () => {
    const [commit, ...rest] = build([finished(10, ['a', 'b']), finished(12, ['c'])])
    expect(rest).toEqual([])
    expect(commit!.part).toEqual({ job: 'j', incarnation: 'i' })
    expect(commit!.chunks).toEqual([
      { first: 10, attempt: 1, done: 2 },
      { first: 12, attempt: 1, done: 1 },
    ])
    expect(commit!.runs.map(run => ({ ...run, bytes: decodeBatch(run.bytes) }))).toEqual([
      { first: 10, count: 3, kind: 'values', bytes: ['a', 'b', 'c'] },
    ])
  })

  it('gives a failure a run of its own, with the attempt and the worker', () => {
    const [commit] = build([finished(0, ['a', undefined, 'c'], { ends: new Map([[1, failure]]) })])
    expect(commit!.runs.map(({ first, count, kind }) => [first, count, kind])).toEqual([
      [0, 1, 'values'],
      [1, 1, 'failure'],
      [2, 1, 'values'],
    ])
    expect(decodeOutcome(commit!.runs[1]!.bytes)).toMatchObject({ code: 'TASK_FAILED', attempt: 1, worker: 'host:1/0' })
  })

  it('sends a retry along with its own input and the next attempt', () => {
    const [commit] = build([finished(5, ['a', undefined], { ends: new Map([[1, retry]]) })])
    const chunk = decodeChunk(commit!.retries[0]!.element)
    expect(chunk.header).toEqual({ ...header(6, 1), base: 6, attempt: 2 })
    expect(inputsOf(chunk.header, chunk.payload)).toEqual(['input 6'])
    expect(commit!.retries[0]!.delayMs).toBe(50)
    expect(commit!.chunks).toEqual([{ first: 5, attempt: 1, done: 2 }])
  })

  it('counts only what was done, and leaves out chunks that were not begun, which the claim may not hold any more', () => {
    const [commit] = build([
      finished(0, ['a', 'b', 'c'], { done: 2, results: ['a', 'b'] }),
      finished(3, ['d'], { done: 0, results: [] }),
    ])
    expect(commit!.chunks).toEqual([{ first: 0, attempt: 1, done: 2 }])
    expect(commit!.runs.map(({ first, count }) => [first, count])).toEqual([[0, 2]])
    expect(build([finished(3, ['d'], { done: 0, results: [] })])).toEqual([])
  })

  it('fails a result that can not travel, and commits its neighbours', () => {
    const [commit] = build([finished(0, [1, () => 1, 3])])
    expect(commit!.runs.map(({ kind }) => kind)).toEqual(['values', 'failure', 'values'])
    expect(decodeOutcome(commit!.runs[1]!.bytes).code).toBe('VALUE_NOT_ENCODABLE')
  })

  it('gives a result that is too large for a shared run one of its own, and fails one that is too large for any', () => {
    const limits = { runBytes: 100, mostRunBytes: 1000, commitBytes: 1e6 }
    const [commit] = build([finished(0, ['s', 'm'.repeat(500), 'l'.repeat(5000), 's'])], limits)
    expect(commit!.runs.map(({ first, kind }) => [first, kind])).toEqual([
      [0, 'values'],
      [1, 'values'],
      [2, 'failure'],
      [3, 'values'],
    ])
    expect(decodeOutcome(commit!.runs[2]!.bytes).code).toBe('VALUE_TOO_LARGE')
  })

  it('is cut where it would be too large for one call, and what is cut off goes back', () => {
    const limits = { runBytes: 5000, mostRunBytes: 10_000, commitBytes: 12_000 }
    const texts = Array.from({ length: 10 }, () => 'x'.repeat(2000))
    const [commit] = build([finished(0, texts.slice(0, 5)), finished(5, texts.slice(5))], limits)
    const covered = commit!.runs.reduce((sum, { count }) => sum + count, 0)
    expect(covered).toBeGreaterThan(0)
    expect(covered).toBeLessThan(10)
    expect(commit!.chunks.reduce((sum, { done }) => sum + done, 0)).toBe(covered)
  })

  it('holds one partial for consecutive results of a job that is reduced', () => {
    const combine = (a: unknown, b: unknown) => Number(a) + Number(b)
    const [commit] = build([finished(0, [1, 2, 3], { combine }), finished(3, [4], { combine })])
    expect(commit!.runs.map(run => [run.first, run.count, run.kind, decodeValue(run.bytes)])).toEqual([
      [0, 4, 'partial', 10],
    ])
  })

  it('leaves the results to the driver when the reducer throws', () => {
    const combine = () => {
      throw new Error('no')
    }
    const [commit] = build([finished(0, [1, 2], { combine })])
    expect(commit!.runs.map(({ kind, count }) => [kind, count])).toEqual([['values', 2]])
  })

  it('is one for each job', () => {
    const other = { ...finished(0, ['z']), header: header(0, 1, { job: 'k' }) }
    expect(build([finished(0, ['a']), other]).map(({ part }) => part.job)).toEqual(['j', 'k'])
  })

  it('accounts for every task exactly once, whatever came of it', () => {
    const end = fc.constantFrom<TaskEnd | 'value' | 'bad'>('value', 'value', 'value', failure, retry, 'bad')
    const chunks = fc.array(
      fc.record({ ends: fc.array(end, { minLength: 1, maxLength: 12 }), done: fc.nat(12), gap: fc.boolean() }),
      { minLength: 1, maxLength: 5 },
    )
    fc.assert(
      fc.property(chunks, fc.integer({ min: 500, max: 20_000 }), fc.nat(400), (specs, commitBytes, spareBytes) => {
        let first = 0
        const all = specs.map(spec => {
          if (spec.gap) first += 3
          const done = Math.min(spec.done, spec.ends.length)
          const results = spec.ends
            .slice(0, done)
            .map(each => (each === 'value' ? 'v'.repeat(600) : each === 'bad' ? Symbol('bad') : undefined))
          const ends = new Map(
            spec.ends.slice(0, done).flatMap((each, i) => (typeof each === 'string' ? [] : [[i, each] as const])),
          )
          const chunk: FinishedChunk = { ...finished(first, spec.ends), results, ends, done }
          first += spec.ends.length
          return chunk
        })
        const [commit] = build(all, { runBytes: 1211 + spareBytes, mostRunBytes: 10_000, commitBytes })
        if (all.every(({ done }) => done === 0)) {
          expect(commit).toBeUndefined()
          return
        }
        const seen = new Map<number, number>()
        const see = (from: number, count: number) => {
          for (let i = from; i < from + count; i++) seen.set(i, (seen.get(i) ?? 0) + 1)
        }
        for (const run of commit!.runs) {
          see(run.first, run.count)
          if (run.kind === 'values') expect(decodeBatch(run.bytes)).toHaveLength(run.count)
        }
        for (const { element } of commit!.retries) see(decodeChunk(element).header.first, 1)
        const expected = commit!.chunks.flatMap(({ first: from, done }) =>
          Array.from({ length: done }, (_, i) => from + i),
        )
        expect([...seen].sort(([a], [b]) => a - b)).toEqual(expected.map(index => [index, 1]))
      }),
    )
  })
})
