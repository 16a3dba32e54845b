import { describe, expect, test } from 'vitest'
import { Pack, packTasks } from '../../src/driver/packing.ts'
import { windowRoom } from '../../src/driver/window.ts'
import { inputSource } from '../../src/driver/input-source.ts'

describe('packTasks', () => {
  const pace = (measured = 0, expected = 0) => ({ measured, expected })

  test('starts small and doubles while the pace is unknown', () => {
    expect([0, 1, 2, 3, 4, 5].map(packs => packTasks(packs, pace()))).toEqual([1, 1, 2, 4, 8, 16])
    expect(packTasks(1000, pace())).toBe(1024)
  })

  test.each([
    [100, 40_000],
    [2_000, 2000],
    [2_000_000, 2],
    [10_000_000_000, 1],
    [1, 65_535],
  ])('holds about four milliseconds of work: at %i ns a task %i', (paceNs, expected) => {
    expect(packTasks(7, pace(paceNs))).toBe(expected)
  })

  test('starts large where the tasks of an earlier job were short, and no smaller where they were long', () => {
    expect(packTasks(0, pace(0, 2_000))).toBe(2000)
    expect([0, 1, 2, 3].map(packs => packTasks(packs, pace(0, 1e9)))).toEqual([1, 1, 2, 4])
    expect(packTasks(9, pace(1e9, 2_000))).toBe(1)
  })
})

describe('Pack', () => {
  test('ends before an input that would take it over its bytes, and holds one that is larger alone', () => {
    const pack = new Pack(0, 100)
    expect(pack.add('x'.repeat(40_000))).toBe(true)
    expect(pack.add('x'.repeat(40_000))).toBe(false)
    const large = new Pack(0, 100)
    expect(large.add('x'.repeat(1_000_000))).toBe(true)
    expect(large.full).toBe(true)
  })

  test('ends after a while where inputs take their time, and holds one at least', () => {
    const pack = new Pack(0, 1000, performance.now())
    expect(pack.full).toBe(false)
    for (let i = 0; !pack.full; i++) pack.add(i)
    expect(pack.inputs).toEqual([0])
    const slow = new Pack(0, 1000, performance.now() + 20)
    for (let i = 0; !slow.full; i++) {
      const end = performance.now() + 1
      while (performance.now() < end);
      slow.add(i)
    }
    expect(slow.inputs.length).toBeLessThanOrEqual(32)
  })

  test('an input that did not fit begins the next pack', async () => {
    const source = inputSource(['a'.repeat(40_000), 'b'.repeat(40_000), undefined])
    const packs = [new Pack(0, 10), new Pack(1, 10)]
    for (const pack of packs) await source.fill(pack)
    expect(packs.map(pack => pack.inputs.map(input => (typeof input === 'string' ? input[0] : input)))).toEqual([
      ['a'],
      ['b', undefined],
    ])
    expect(source.ended).toBe(true)
  })

  test('inputs that come slowly do not keep those that are there waiting', async () => {
    let release: () => void = () => undefined
    const gate = new Promise<void>(resolve => (release = resolve))
    async function* slow() {
      yield 1
      yield 2
      await gate
      yield 3
    }
    const source = inputSource(slow())
    const first = new Pack(0, 100)
    await source.fill(first)
    expect(first.inputs).toEqual([1, 2])
    release()
    const second = new Pack(2, 100)
    await source.fill(second)
    expect(second.inputs).toEqual([3])
    expect(source.ended).toBe(true)
  })
})

describe('windowRoom', () => {
  test.each([
    [{ tasks: 0, inputBytes: 0, resultBytes: 0 }, 262_144],
    [{ tasks: 262_144, inputBytes: 0, resultBytes: 0 }, 0],
    [{ tasks: 10, inputBytes: 64 << 20, resultBytes: 0 }, 0],
    [{ tasks: 0, inputBytes: 64 << 20, resultBytes: 0 }, 262_144],
    [{ tasks: 60, inputBytes: 0, resultBytes: 1 << 20 }, 4],
    [{ tasks: 60, inputBytes: 0, resultBytes: 1 << 30 }, 4],
    [{ tasks: 1000, inputBytes: 0, resultBytes: 1 << 30 }, 0],
  ])('%j leaves room for %i', (outstanding, expected) => {
    expect(windowRoom(outstanding)).toBe(expected)
  })
})
