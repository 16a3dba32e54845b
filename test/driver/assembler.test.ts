import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Assembler } from '../../src/driver/assembler.ts'
import type { Arrival } from '../../src/driver/assembler.ts'
import { Coverage } from '../../src/driver/coverage.ts'
import { Outbox } from '../../src/driver/outbox.ts'

const run = (first: number, count: number, kind: Arrival['kind'] = 'values'): Arrival => ({
  first,
  count,
  kind,
  bytes: Buffer.from('x'),
  valueBytes: 1,
})

/** All indexes that the assembler gives, in the order in which it gives them. */
function drain(assembler: Assembler): number[] {
  const indexes: number[] = []
  for (let piece = assembler.shift(); piece !== undefined; piece = assembler.shift()) {
    for (let i = 0; i < piece.count; i++) indexes.push(piece.first + i)
  }
  return indexes
}

/** Runs that cover 0 … total, some of them twice, overlapping, in any order. */
const arrivals = fc
  .record({
    total: fc.integer({ min: 1, max: 60 }),
    cuts: fc.array(fc.integer({ min: 1, max: 59 })),
    extra: fc.array(fc.tuple(fc.nat(59), fc.integer({ min: 1, max: 20 }))),
  })
  .chain(({ total, cuts, extra }) => {
    const borders = [0, ...new Set(cuts.filter(cut => cut < total).sort((a, b) => a - b)), total]
    const runs = borders.slice(1).map((to, i) => run(borders[i] ?? 0, to - (borders[i] ?? 0)))
    const again = extra.filter(([first, count]) => first + count <= total).map(([first, count]) => run(first, count))
    return fc.record({
      total: fc.constant(total),
      runs: fc.shuffledSubarray([...runs, ...again], { minLength: runs.length + again.length }),
    })
  })

describe('Assembler', () => {
  test('gives each index exactly once and in order, whatever comes in whichever order', () => {
    fc.assert(
      fc.property(arrivals, fc.boolean(), ({ total, runs }, drainBetween) => {
        const assembler = new Assembler()
        const given: number[] = []
        for (const one of runs) {
          assembler.add(one)
          if (drainBetween) given.push(...drain(assembler))
        }
        given.push(...drain(assembler))
        expect(given).toEqual(Array.from({ length: total }, (_, i) => i))
        expect([assembler.arrived, assembler.heldTasks, assembler.heldBytes]).toEqual([total, 0, 0])
      }),
    )
  })

  test('gives each index exactly once when order does not matter', () => {
    fc.assert(
      fc.property(arrivals, ({ total, runs }) => {
        const assembler = new Assembler()
        assembler.unorder()
        for (const one of runs) assembler.add(one)
        expect(drain(assembler).sort((a, b) => a - b)).toEqual(Array.from({ length: total }, (_, i) => i))
      }),
    )
  })

  test('takes any number of pieces along when order stops to matter', () => {
    const assembler = new Assembler()
    for (let first = 1; first <= 300_000; first++)
      assembler.add({ first, count: 1, kind: 'values', bytes: undefined, valueBytes: 1 })
    assembler.unorder()
    expect(assembler.shift()).toMatchObject({ first: 1 })
  })

  test('says that a run is the last of its pieces exactly once', () => {
    const assembler = new Assembler()
    assembler.add(run(2, 2))
    assembler.add(run(0, 8))
    const pieces = [assembler.shift(), assembler.shift(), assembler.shift()]
    expect(pieces.map(piece => [piece?.first, piece?.count, piece?.last])).toEqual([
      [0, 2, false],
      [2, 2, true],
      [4, 4, true],
    ])
  })

  test('does not divide a reduction: one that overlaps what is there is refused', () => {
    const assembler = new Assembler()
    expect(assembler.add(run(0, 4, 'partial'))).toBe('new')
    expect(assembler.add(run(0, 4, 'partial'))).toBe('known')
    expect(assembler.add(run(2, 4, 'partial'))).toBe('clash')
    expect(assembler.arrived).toBe(4)
  })

  test('begins at the cursor of a former consumer, and goes on behind what it skips', () => {
    const assembler = new Assembler(10)
    assembler.add(run(5, 5))
    assembler.add(run(12, 2))
    expect(drain(assembler)).toEqual([])
    assembler.skip([[10, 12]])
    expect(drain(assembler)).toEqual([12, 13])
  })

  test('forgets what is only in Redis, and keeps what is here', () => {
    const assembler = new Assembler()
    assembler.add(run(0, 2))
    assembler.add({ ...run(2, 2), bytes: undefined })
    assembler.forgetUnread()
    expect(assembler.coverage.gaps(0, 4)).toEqual([[2, 4]])
    expect(drain(assembler)).toEqual([0, 1])
  })
})

describe('Coverage', () => {
  test('agrees with a set of indexes', () => {
    const step = fc.record({ add: fc.boolean(), from: fc.nat(40), length: fc.nat(12) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), steps => {
        const coverage = new Coverage()
        const set = new Set<number>()
        for (const { add, from, length } of steps) {
          const to = from + length
          if (add) {
            const fresh = coverage
              .add(from, to)
              .flatMap(([start, end]) => Array.from({ length: end - start }, (_, i) => start + i))
            expect(fresh).toEqual(Array.from({ length }, (_, i) => from + i).filter(index => !set.has(index)))
            for (let i = from; i < to; i++) set.add(i)
          } else {
            coverage.remove(from, to)
            for (let i = from; i < to; i++) set.delete(i)
          }
          expect(coverage.tasks).toBe(set.size)
          for (let i = 0; i < 55; i++) expect(coverage.covers(i, i + 1)).toBe(set.has(i))
        }
        const gaps = coverage
          .gaps(0, 60)
          .flatMap(([start, end]) => Array.from({ length: end - start }, (_, i) => start + i))
        expect(gaps).toEqual(Array.from({ length: 60 }, (_, i) => i).filter(index => !set.has(index)))
      }),
    )
  })
})

describe('Outbox', () => {
  const most = { chunks: 2, bytes: 1000 }
  const filled = (counts: readonly number[]) => {
    const outbox = new Outbox()
    for (const count of counts) outbox.push(count, Buffer.from('payload'))
    return outbox
  }

  test('gives everything once, in cursor order, a bounded number of chunks at a time', () => {
    const outbox = filled([1, 2, 3])
    const coverage = new Coverage()
    expect(outbox.next(coverage, most)).toMatchObject({
      from: 0,
      to: 3,
      skipped: 0,
      windows: [
        { first: 0, count: 1 },
        { first: 1, count: 2 },
      ],
    })
    expect(outbox.next(coverage, most)).toMatchObject({ from: 3, to: 6, windows: [{ first: 3, count: 3, base: 3 }] })
    expect(outbox.next(coverage, most)).toBeUndefined()
  })

  test('sends again from a cursor what is not collected, and counts what is as skipped', () => {
    const outbox = filled([4, 4, 4])
    const coverage = new Coverage()
    while (outbox.next(coverage, most) !== undefined);
    coverage.add(0, 5)
    outbox.collected(0, 5, coverage)
    outbox.rewind(0)
    expect(outbox.next(coverage, { chunks: 9, bytes: 1000 })).toMatchObject({
      from: 0,
      to: 12,
      skipped: 5,
      windows: [
        { first: 5, count: 3, base: 4 },
        { first: 8, count: 4, base: 8 },
      ],
    })
  })

  test('says how many of what it skips never had a task, wherever it goes back to', () => {
    const outbox = filled([2])
    outbox.push(3, undefined)
    outbox.push(1, Buffer.from('payload'))
    const coverage = new Coverage()
    expect(outbox.next(coverage, most)).toMatchObject({ to: 6, skipped: 3, taskless: 3 })
    coverage.add(0, 2)
    outbox.collected(0, 2, coverage)
    outbox.rewind(0)
    expect(outbox.next(coverage, most)).toMatchObject({ to: 6, skipped: 5, taskless: 3 })
    outbox.rewind(4)
    expect(outbox.next(coverage, most)).toMatchObject({ to: 6, skipped: 1, taskless: 1 })
  })

  test('keeps what is not acknowledged, however much it is', () => {
    const outbox = filled([2, 2, 2])
    while (outbox.next(new Coverage(), most) !== undefined);
    outbox.forgetOldest(0, 3)
    expect(outbox.keptFrom).toBe(2)
    outbox.rewind(2)
    expect(outbox.next(new Coverage(), most)).toMatchObject({ from: 2, to: 6, skipped: 0 })
  })

  test('every index is sent or skipped, whatever was collected and wherever it goes back to', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 30 }),
        fc.array(fc.tuple(fc.nat(150), fc.integer({ min: 1, max: 9 }))),
        fc.nat(150),
        (counts, collected, back) => {
          const outbox = filled(counts)
          const coverage = new Coverage()
          const total = outbox.end
          while (outbox.next(coverage, most) !== undefined);
          for (const [from, length] of collected) {
            const to = Math.min(total, from + length)
            coverage.add(Math.min(from, to), to)
            outbox.collected(from, to, coverage)
          }
          const from = Math.min(back, total)
          outbox.rewind(from)
          let cursor = from
          let sent = 0
          for (let batch = outbox.next(coverage, most); batch !== undefined; batch = outbox.next(coverage, most)) {
            expect(batch.from).toBe(cursor)
            const tasks = batch.windows.reduce((sum, { count }) => sum + count, 0)
            expect(tasks + batch.skipped).toBe(batch.to - batch.from)
            sent += tasks
            cursor = batch.to
          }
          expect(cursor).toBe(total)
          expect(sent).toBe(coverage.gaps(from, total).reduce((sum, [start, end]) => sum + end - start, 0))
        },
      ),
    )
  })
})

test('what is secured came with its bytes: not what was known before, and is in Redis alone', () => {
  const assembler = new Assembler(56)
  const unread: Arrival = { ...run(56, 5), bytes: undefined }
  assembler.add(unread)
  // Redis went back, and the same tasks ran again, in chunks of other bounds.
  assembler.add(run(56, 7))
  expect(assembler.secured.covers(61, 63)).toBe(true)
  expect(assembler.secured.covers(60, 61)).toBe(false)
  expect(assembler.shift()).toMatchObject({ first: 56, count: 5, run: unread })
})
