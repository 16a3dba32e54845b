import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { ProgressDisplay } from '../../../src/cli/progress/progress-display.ts'
import { progressBar, progressLine, renderBar, type ProgressView } from '../../../src/cli/progress/progress-text.ts'
import { RateMeter } from '../../../src/cli/progress/rate-meter.ts'

const view: ProgressView = {
  label: 'primes',
  done: 248,
  total: 400,
  running: 8,
  failed: 0,
  perSecond: 390.4,
  remainingMs: 389,
  waitingFor: undefined,
}

describe('progress as text', () => {
  test.each<[what: string, change: Partial<ProgressView>, line: string]>([
    [
      'share, count, rate, flight, failures and end',
      {},
      'primes: 62 %, 248/400, 390/s, 8 in flight, 0 failed, 389 ms left',
    ],
    [
      'no share and no end while the total is unknown',
      { total: undefined, remainingMs: undefined },
      'primes: 248 done, 390/s, 8 in flight, 0 failed',
    ],
    [
      'no rate and no end while it is too early to say',
      { perSecond: undefined, remainingMs: undefined },
      'primes: 62 %, 248/400, 8 in flight, 0 failed',
    ],
    [
      'what the job waits for instead of an end',
      { waitingFor: 'no worker knows this task', perSecond: 0 },
      'primes: 62 %, 248/400, 0.0/s, 8 in flight, 0 failed, waits: no worker knows this task',
    ],
    [
      '100 % only when all is done',
      { done: 9_999, total: 10_000, failed: 3 },
      'primes: 99 %, 9,999/10,000, 390/s, 8 in flight, 3 failed, 389 ms left',
    ],
    ['no end once all is done', { done: 400, running: 0 }, 'primes: 100 %, 400/400, 390/s, 0 in flight, 0 failed'],
  ])('says %s', (_what, change, line) => {
    expect(progressLine({ ...view, ...change })).toBe(line)
  })

  test('a bar is filled to an eighth of a cell', () => {
    expect([0, 0.5, 0.54, 1, 7].map(share => renderBar(share, 4))).toEqual(['░░░░', '██░░', '██▏░', '████', '████'])
  })

  test('a bar line never fills its last column, where a terminal would wrap it', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 200 }), fc.nat(1_000_000), fc.nat(1_000_000), (columns, done, rest) => {
        const line = progressBar({ ...view, done, total: done + rest }, columns)
        expect([...line].length).toBeLessThan(columns)
      }),
    )
  })
})

describe('RateMeter', () => {
  test('says nothing before it has seen enough', () => {
    const meter = new RateMeter()
    meter.note(0, 0)
    meter.note(100, 50)
    expect(meter.perSecond()).toBeUndefined()
    expect(meter.remainingMs(10)).toBeUndefined()
  })

  test('forgets the pace of long ago', () => {
    const meter = new RateMeter()
    for (let second = 0; second <= 10; second++) meter.note(second * 1000, second * 1000)
    for (let second = 11; second <= 20; second++) meter.note(second * 1000, 10_000 + (second - 10) * 10)
    expect(meter.perSecond()).toBeCloseTo(10)
    expect(meter.remainingMs(100)).toBeCloseTo(10_000)
  })

  test('knows no end for work that stands still', () => {
    const meter = new RateMeter()
    meter.note(0, 5)
    meter.note(6_000, 5)
    expect(meter.perSecond()).toBe(0)
    expect(meter.remainingMs(10)).toBeUndefined()
  })
})

describe('ProgressDisplay', () => {
  const reading = { done: 1, total: 2, running: 1, failed: 0, waitingFor: undefined }

  test('draws in one line of a terminal, and leaves it empty with its cursor', () => {
    const terminal = fakeStream(true)
    const display = new ProgressDisplay(terminal, 'work', {})
    display.update(reading)
    display.end()
    display.end()
    expect(terminal.text()).toMatch(/work {2}█+░+ {2}50 % · 1\/2/)
    expect(terminal.text()).not.toContain('\n')
    expect(terminal.text().endsWith('\r\u001B[2K\u001B[?25h')).toBe(true)
  })

  test.each([
    ['a pipe', false, {}],
    ['a dumb terminal', true, { TERM: 'dumb' }],
  ])('writes whole lines every few seconds to %s', (_what, isTTY, env) => {
    vi.useFakeTimers()
    try {
      const pipe = fakeStream(isTTY)
      const display = new ProgressDisplay(pipe, 'work', env)
      display.update(reading)
      vi.advanceTimersByTime(6_500)
      display.end()
      expect(pipe.text().split('\n')).toEqual(
        Array(2)
          .fill(expect.stringMatching(/^work: 50 %, 1\/2, /))
          .concat(''),
      )
      expect(pipe.text()).not.toContain('\u001B')
    } finally {
      vi.useRealTimers()
    }
  })
})

function fakeStream(isTTY: boolean) {
  const written: string[] = []
  return { isTTY, columns: 80, write: (text: string) => written.push(text), text: () => written.join('') }
}
