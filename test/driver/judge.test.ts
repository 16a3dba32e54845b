import { describe, expect, test } from 'vitest'
import { isSound, judge } from '../../src/driver/judge.ts'
import type { Belief } from '../../src/driver/judge.ts'
import { CollectorReplacedError, JobCancelledError, JobConflictError } from '../../src/errors.ts'
import type { PartCounters } from '../../src/protocol/records.ts'

const belief: Belief = {
  job: 'j',
  incarnation: 'i1',
  collector: 'me',
  attaches: 1,
  created: true,
  renewed: false,
  acknowledged: 100,
  completed: false,
  mustRestart: false,
}
const stand: PartCounters = {
  incarnation: 'i1',
  collector: 'me',
  attaches: 1,
  state: 'open',
  submitted: 100,
  complete: false,
  settled: 50,
  failed: 0,
  waiting: 50,
  pace: 0,
  delayed: 0,
}

describe('judge', () => {
  test.each([
    ['goes on', {}, {}, 'resume'],
    ['goes on from less', { submitted: 20 }, {}, 'resume'],
    ['attaches to what is parked', { state: 'parked' }, {}, 'attach'],
    ['drops what has lost results', {}, { mustRestart: true }, 'restart'],
    ['begins anew behind its own end, when that was to restart', { state: 'cancelled' }, { mustRestart: true }, 'anew'],
    ['attaches again when Redis went back to before it came', { collector: 'former', attaches: 0 }, {}, 'attach'],
    ['ends a former life of its own that Redis went back to', { incarnation: 'i0' }, {}, 'restart'],
    [
      'ends one that Redis went back to before it had this incarnation',
      { incarnation: 'i0' },
      { created: false, renewed: true },
      'restart',
    ],
    ['begins anew behind such a one', { incarnation: 'i0', state: 'cancelled' }, {}, 'anew'],
    [
      'creates over what ended under its id',
      { state: 'cancelled', incarnation: 'i0', collector: 'x' },
      { created: false },
      'create',
    ],
  ] as const)('%s', (_, there, known, verdict) => {
    expect(judge({ ...stand, ...there }, { ...belief, ...known })).toBe(verdict)
  })

  test('creates what was never there, and begins anew what was', () => {
    expect(judge(undefined, { ...belief, created: false })).toBe('create')
    expect(judge(undefined, belief)).toBe('anew')
  })

  test.each([
    ['somebody attached', { collector: 'other', attaches: 2 }, {}, CollectorReplacedError],
    ['somebody attached after Redis went back', { collector: 'other', attaches: 1 }, {}, CollectorReplacedError],
    [
      'somebody attached and finished',
      { collector: 'other', state: 'cancelled' },
      { mustRestart: true },
      CollectorReplacedError,
    ],
    ['somebody cancelled it', { state: 'cancelled' }, {}, JobCancelledError],
    [
      'the id is that of a job that lives',
      { incarnation: 'i0', collector: 'other' },
      { created: false },
      JobConflictError,
    ],
  ] as const)('ends when %s', (_, there, known, expected) => {
    expect(judge({ ...stand, ...there }, { ...belief, ...known })).toBeInstanceOf(expected)
  })
})

describe('isSound', () => {
  test.each([
    [{}, {}, true],
    [{ submitted: 120 }, {}, true],
    [{ submitted: 99 }, {}, false],
    [{ complete: false }, { completed: true }, false],
    [{ complete: true }, { completed: true }, true],
    [{ state: 'parked' }, {}, false],
    [{ collector: 'other' }, {}, false],
    [{ incarnation: 'i0' }, {}, false],
  ] as const)('with %j in Redis and %j known: %s', (there, known, expected) => {
    expect(isSound({ ...stand, ...there }, { ...belief, ...known })).toBe(expected)
  })

  test('a part that is gone is not', () => {
    expect(isSound(undefined, belief)).toBe(false)
  })
})
