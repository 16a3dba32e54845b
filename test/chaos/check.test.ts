import { describe, expect, test } from 'vitest'
import { check } from '../../chaos/check/check.ts'
import type { Pick } from '../../chaos/check/slices.ts'
import { tellStory } from '../../chaos/check/story.ts'
import type { Violation } from '../../chaos/check/violation.ts'
import { valueOf } from '../../chaos/events.ts'
import { excusesOf } from '../../chaos/leftovers.ts'
import { span, Tale } from './support/tale.ts'

/** What the checker holds against a history: the rules that are broken, each as often as it is. */
const rulesBroken = (tale: Tale) => judge(tale).violations.map(({ rule }) => rule)

/** The verdict, which must not depend on how the history is divided. */
function judge({ events }: Tale, leaseMs = 0) {
  const read = (pick: Pick) => events.flatMap(event => pick(event) ?? [])
  const verdict = check(read, { leaseMs })
  const divided = check(read, { leaseMs, slices: 3 })
  const inOrder = (violations: readonly Violation[]) => violations.map(({ what }) => what).sort()
  expect(inOrder(divided.violations)).toEqual(inOrder(verdict.violations))
  expect({ ...divided, violations: [] }).toEqual({ ...verdict, violations: [] })
  return verdict
}

const goodTale = () =>
  new Tale()
    .begin('j')
    .claim('w1/1', 'c1', span('j', 0, 2))
    .run('w1/1', 'j', 0, 1)
    .commit('w1/1', 'c1', [span('j', 0, 2)])
    .see('j', 0, 1)

test('a run in which all went well breaks no rule', () => {
  const verdict = judge(goodTale().end('j'))
  expect(verdict.violations).toEqual([])
  expect(verdict.counts).toMatchObject({ jobs: 1, tasks: 2, results: 2, commits: { committed: 1 } })
})

describe('every task that was submitted has exactly one result', () => {
  test('a job that never ended is lost', () => {
    expect(rulesBroken(goodTale())).toEqual(['lost'])
  })
  test('so is a task without a result in a job that ended', () => {
    expect(rulesBroken(new Tale().begin('j').run('w1/1', 'j', 0, 1).see('j', 0).end('j'))).toEqual(['lost'])
  })
  test('a result that comes twice, or before its turn, was not delivered once', () => {
    expect(rulesBroken(goodTale().see('j', 1).end('j'))).toEqual(['delivered twice'])
    expect(rulesBroken(new Tale().begin('j').run('w1/1', 'j', 0, 1).see('j', 1, 0).end('j'))).toEqual([
      'delivered twice',
    ])
  })
  test('results that are asked for as they come may come in any order, and still only once', () => {
    const tale = () => new Tale().begin('j', { unordered: true }).run('w1/1', 'j', 0, 1).see('j', 1, 0)
    expect(rulesBroken(tale().end('j'))).toEqual([])
    expect(rulesBroken(tale().see('j', 1).end('j'))).toEqual(['delivered twice'])
  })
  test('another driver that goes on may see some again', () => {
    const tale = goodTale()
      .kill('d1', 'driver')
      .add('d2', { type: 'attached', job: 'j', how: 'attach' })
      .seeBy('d2', 'j', 1)
      .end('j', { how: 'complete' }, 'd2')
    expect(rulesBroken(tale)).toEqual([])
  })
  test('calls of run are lost with their driver, and only with it', () => {
    const calls = () => new Tale().begin('j', { workload: 'calls' }).run('w1/1', 'j', 0).see('j', 0)
    expect(rulesBroken(calls())).toEqual(['lost'])
    expect(rulesBroken(calls().kill('d1', 'driver'))).toEqual([])
    expect(rulesBroken(calls().end('j'))).toEqual(['lost'])
  })
  test('single calls may be answered in any order', () => {
    expect(
      rulesBroken(new Tale().begin('j', { workload: 'burst' }).run('w1/1', 'j', 0, 1).see('j', 1, 0).end('j')),
    ).toEqual([])
  })
})

describe('what is submitted is accepted once', () => {
  const sentTwice = () => new Tale().beginOnly('j').submit('d1', 'j', [0, 2])
  const finished = (tale: Tale) =>
    tale
      .claim('w1/1', 'c1', span('j', 0, 2))
      .run('w1/1', 'j', 0, 1)
      .commit('w1/1', 'c1', [span('j', 0, 2)])
      .see('j', 0, 1)
      .end('j')
  test('a batch that is sent again and accepted again is in there twice', () => {
    expect(rulesBroken(finished(sentTwice().submit('d1', 'j', [0, 2])))).toEqual(['submitted twice'])
    expect(rulesBroken(finished(sentTwice().submit('d1', 'j', [1, 3])))).toEqual(['submitted twice'])
  })
  test('one that found itself out of step is not, nor one without an answer, nor the next one', () => {
    const tale = sentTwice().submit('d1', 'j', [0, 2], 'out of step').submit('d1', 'j', [0, 2], 'unknown')
    expect(rulesBroken(finished(tale.submit('d1', 'j', [0, 2], 'no answer').submit('d1', 'j', [2, 4])))).toEqual([])
  })
  test('what Redis has lost, or begins anew, may be submitted once more', () => {
    expect(rulesBroken(finished(sentTwice().lose().submit('d1', 'j', [0, 2])))).toEqual([])
    expect(rulesBroken(finished(sentTwice().submit('d1', 'j', [0, 2], 'submitted', 'i2')))).toEqual([])
  })
  test('a thread is only given what somebody has submitted before', () => {
    expect(rulesBroken(finished(new Tale().beginOnly('j')))).toEqual(['never submitted'])
    expect(rulesBroken(finished(new Tale().beginOnly('j').submit('d1', 'j', [0, 1])))).toEqual(['never submitted'])
    expect(
      rulesBroken(finished(new Tale().beginOnly('j').submit('d1', 'j', [1, 2], 'no answer').submit('d1', 'j', [0, 1]))),
    ).toEqual([])
  })
})

describe('every result is the task’s own', () => {
  test('another value is wrong, and so is a task that there is not', () => {
    const wrong = new Tale()
      .begin('j', { count: 1 })
      .run('w1/1', 'j', 0)
      .add('d1', { type: 'result', job: 'j', index: 0, value: 99 })
    expect(rulesBroken(wrong.end('j'))).toEqual(['wrong value'])
    expect(rulesBroken(goodTale().see('j', 2).end('j'))).toContain('wrong value')
  })
  test('a task that has a result has run, and left its effect', () => {
    expect(rulesBroken(new Tale().begin('j', { count: 1 }).see('j', 0).end('j'))).toEqual([
      'never attempted',
      'never attempted',
    ])
    const noEffect = new Tale()
      .begin('j', { count: 1 })
      .add('w1/1', { type: 'started', job: 'j', index: 0, attempt: 1 })
    expect(rulesBroken(noEffect.see('j', 0).end('j'))).toEqual(['never attempted'])
  })
})

describe('a reduction is what its values come to', () => {
  const reduced = (aggregate: number) =>
    new Tale().begin('j', { workload: 'reduce' }).run('w1/1', 'j', 0, 1).end('j', { how: 'complete', aggregate })
  const sum = valueOf(7, 0) + valueOf(7, 1)
  test('any other sum is wrong', () => {
    expect(rulesBroken(reduced(sum))).toEqual([])
    expect(rulesBroken(reduced(sum + valueOf(7, 1)))).toEqual(['wrong aggregate'])
  })
  test('it is handed out once', () => {
    const twice = reduced(sum).end('j', { how: 'complete', aggregate: sum }, 'd2')
    expect(rulesBroken(twice)).toEqual(['wrong aggregate'])
  })
  test('every task in it has run', () => {
    const idle = new Tale()
      .begin('j', { workload: 'reduce' })
      .run('w1/1', 'j', 0)
      .end('j', { how: 'complete', aggregate: sum })
    expect(rulesBroken(idle)).toEqual(['never attempted'])
  })
})

describe('a task is committed once in each history of Redis', () => {
  const twice = (tale: Tale) => tale.run('w2/1', 'j', 1).commit('w2/1', 'c2', [span('j', 1)])
  test('a second commit is too much', () => {
    expect(rulesBroken(twice(goodTale()).end('j'))).toEqual(['double commit'])
  })
  test('one that was refused, or of which nothing is known, is none', () => {
    for (const state of ['fenced', 'discarded', 'unknown', 'no answer'] as const) {
      expect(
        rulesBroken(
          goodTale()
            .commit('w2/1', 'c2', [span('j', 1)], state)
            .end('j'),
        ),
      ).toEqual([])
    }
  })
  test('after Redis came back with less the task may be committed again, once', () => {
    expect(rulesBroken(twice(goodTale().lose()).end('j'))).toEqual([])
    expect(rulesBroken(twice(twice(goodTale().lose())).end('j'))).toEqual(['double commit'])
  })
  test('a commit that was under way while Redis went back counts for neither history', () => {
    const tale = goodTale().run('w2/1', 'j', 1).run('w3/1', 'j', 1)
    tale.add('w2/1', {
      type: 'commit',
      call: 9,
      state: 'invoked',
      claim: 'c2',
      incarnation: 'i1',
      spans: [span('j', 1)],
    })
    tale.lose().add('w2/1', { type: 'commit', call: 9, state: 'committed' })
    expect(rulesBroken(tale.commit('w3/1', 'c3', [span('j', 1)]).end('j'))).toEqual([])
  })
  test('a job begins anew only after Redis has lost something', () => {
    const anew = (tale: Tale) =>
      tale
        .run('w2/1', 'j', 1)
        .commit('w2/1', 'c2', [span('j', 1)], 'committed', 'i2')
        .end('j')
    expect(rulesBroken(anew(goodTale()))).toEqual(['double commit'])
    expect(rulesBroken(anew(goodTale().lose()))).toEqual([])
  })
  test('or when a driver that asked for its id gets through when it has ended', () => {
    const ask = (tale: Tale) => tale.add('d2', { type: 'attached', job: 'j', how: 'same id' })
    const anew = (tale: Tale) =>
      tale
        .submit('d2', 'j', [0, 2], 'submitted', 'i2')
        .claim('w2/1', 'c2', span('j', 0, 2))
        .run('w2/1', 'j', 0, 1)
        .commit('w2/1', 'c2', [span('j', 0, 2)], 'committed', 'i2')
        .seeBy('d2', 'j', 0, 1)
        .end('j', { how: 'complete' }, 'd2')
    expect(rulesBroken(anew(ask(goodTale()).end('j')))).toEqual([])
    expect(rulesBroken(anew(ask(goodTale())).end('j'))).toEqual(['double commit'])
    expect(rulesBroken(anew(goodTale().end('j')))).toEqual(['double commit'])
  })
})

test('a claim is one thread’s, for ever', () => {
  const again = (by: string) => goodTale().claim(by, 'c1', span('j', 1)).end('j')
  expect(rulesBroken(again('w1/1'))).toEqual([])
  expect(rulesBroken(again('w1/2'))).toEqual(['claim used twice'])
})

describe('a result that is accepted is one that its thread worked out under that claim', () => {
  const told = () => new Tale().begin('j', { count: 1 }).claim('w1/1', 'c1', span('j', 0))
  const done = (tale: Tale, claim = 'c1') =>
    rulesBroken(
      tale
        .commit('w1/1', claim, [span('j', 0)])
        .see('j', 0)
        .end('j'),
    )
  const started = (tale: Tale) => tale.add('w1/1', { type: 'started', job: 'j', index: 0, attempt: 1 })
  test('neither another thread’s effect will do, nor one of another claim, nor a later one', () => {
    expect(done(told().run('w1/1', 'j', 0))).toEqual([])
    expect(done(told().run('w2/1', 'j', 0))).toEqual(['committed without effect'])
    expect(done(told().run('w1/1', 'j', 0), 'c2')).toEqual(['committed without effect'])
    const late = started(told()).commit('w1/1', 'c1', [span('j', 0)])
    expect(rulesBroken(late.effect('w1/1', 'j', 0, 'c1').see('j', 0).end('j'))).toEqual(['committed without effect'])
  })
  test('a thread that was given the task twice may have run it under either', () => {
    expect(done(told().claim('w1/1', 'c2', span('j', 0)).run('w1/1', 'j', 0))).toEqual([])
  })
  test('a failure leaves none', () => {
    const failed = started(told()).commit('w1/1', 'c1', [{ ...span('j', 0), failed: true }])
    expect(rulesBroken(failed.run('w1/1', 'j', 0).see('j', 0).end('j'))).toEqual([])
  })
})

test('a full Redis takes results', () => {
  const fault = (tale: Tale, state: 'begins' | 'ends') =>
    tale.add('harness', { type: 'fault', fault: 'redis-maxmemory', state })
  const refused = (tale: Tale) => tale.commit('w1/1', 'c1', [span('j', 1)], 'refused').end('j')
  expect(rulesBroken(refused(fault(goodTale(), 'begins')))).toEqual(['commit refused'])
  expect(rulesBroken(refused(fault(fault(goodTale(), 'begins'), 'ends')))).toEqual([])
})

describe('a worker that was declared dead commits nothing that it held', () => {
  const frozen = (state: 'committed' | 'fenced', declaredDead = true) =>
    new Tale()
      .begin('j', { count: 1 })
      .claim('w1/1', 'c1', span('j', 0))
      .run('w1/1', 'j', 0)
      .wait(100)
      .freeze('w1')
      .wait(6000)
      .thaw('w1', declaredDead)
      .commit('w1/1', 'c1', [span('j', 0)], state)
      .see('j', 0)
      .end('j')
  test('what it tries is counted, and refused', () => {
    const verdict = judge(frozen('fenced'))
    expect(verdict.violations).toEqual([])
    expect(verdict.lateCommits).toEqual({ freezes: 1, attempted: 1, accepted: 0, idle: 0 })
  })
  test('a freeze after which nothing was tried shows nothing, unless Redis or its connections were tampered with', () => {
    const idle = (tale: Tale) => judge(tale.wait(6000).thaw('w1')).lateCommits.idle
    expect(idle(new Tale().freeze('w1'))).toBe(1)
    const cut = new Tale().freeze('w1').add('harness', { type: 'fault', fault: 'net-cut', state: 'begins' })
    expect(idle(cut)).toBe(0)
  })
  test('a late commit that is accepted is a violation', () => {
    expect(rulesBroken(frozen('committed'))).toEqual(['late commit accepted'])
  })
  test('one that Redis still took for alive may commit', () => {
    expect(judge(frozen('committed', false))).toMatchObject({ violations: [], lateCommits: { freezes: 0 } })
  })
  test('what it claims after it woke up is its own', () => {
    const tale = new Tale()
      .begin('j', { count: 1 })
      .freeze('w1')
      .wait(6000)
      .thaw('w1')
      .claim('w1/1', 'c1', span('j', 0))
    expect(
      rulesBroken(
        tale
          .run('w1/1', 'j', 0)
          .commit('w1/1', 'c1', [span('j', 0)])
          .see('j', 0)
          .end('j'),
      ),
    ).toEqual([])
  })
})

describe('a job ends with an error only where something explains it', () => {
  const takenOver = (tale: Tale, how: 'attach' | 'same id' = 'attach') =>
    tale.kill('d1', 'driver').add('d2', { type: 'attached', job: 'j', how })

  test('an error out of nothing is unexplained', () => {
    expect(rulesBroken(goodTale().fail('j', 'TASKS_LOST'))).toEqual(['unexplained error'])
    expect(rulesBroken(goodTale().fail('j', 'JOB_NOT_FOUND'))).toEqual(['unexplained error'])
    expect(rulesBroken(goodTale().fail('j', 'TASK_FAILED'))).toEqual(['unexplained error'])
  })
  test('tasks may be lost when both driver and data are', () => {
    expect(rulesBroken(takenOver(goodTale().lose()).fail('j', 'TASKS_LOST', undefined, 'd2'))).toEqual([])
    expect(rulesBroken(takenOver(goodTale()).fail('j', 'TASKS_LOST', undefined, 'd2'))).toEqual(['unexplained error'])
  })
  test('a job whose last result was used before its driver died is gone', () => {
    expect(rulesBroken(takenOver(goodTale()).fail('j', 'JOB_NOT_FOUND', undefined, 'd2'))).toEqual([])
    const early = new Tale().begin('j').run('w1/1', 'j', 0).see('j', 0)
    expect(rulesBroken(takenOver(early).fail('j', 'JOB_NOT_FOUND', undefined, 'd2'))).toEqual(['unexplained error'])
  })
  test('one that another driver ended, because not all its inputs had come, is gone for the next', () => {
    const early = () => takenOver(new Tale().begin('j', { count: 5 }).run('w1/1', 'j', 0, 1).see('j', 0, 1))
    const next = (tale: Tale) =>
      tale.add('d3', { type: 'attached', job: 'j', how: 'attach' }).fail('j', 'JOB_NOT_FOUND', undefined, 'd3')
    expect(rulesBroken(next(early()).fail('j', 'INPUTS_INCOMPLETE', 2, 'd2'))).toEqual([])
    expect(rulesBroken(next(early()))).toEqual(['unexplained error'])
  })
  test('inputs are missing when the driver that had them died, and the count is true', () => {
    const halfway = () => takenOver(new Tale().begin('j', { count: 5 }).run('w1/1', 'j', 0, 1).see('j', 0, 1))
    expect(rulesBroken(halfway().fail('j', 'INPUTS_INCOMPLETE', 2, 'd2'))).toEqual([])
    // More than were delivered, and fewer than ran.
    expect(rulesBroken(halfway().fail('j', 'INPUTS_INCOMPLETE', 3, 'd2'))).toEqual(['unexplained error'])
    expect(rulesBroken(halfway().fail('j', 'INPUTS_INCOMPLETE', 1, 'd2'))).toEqual(['unexplained error'])
    // A driver that was frozen begins the job anew when it has ended; what runs then was not to be counted.
    const nothing = takenOver(new Tale().begin('j', { count: 2 })).fail('j', 'INPUTS_INCOMPLETE', 0, 'd2')
    const anew = nothing.add('d3', { type: 'attached', job: 'j', how: 'same id' }).run('w1/1', 'j', 0, 1)
    expect(rulesBroken(anew.see('j', 0, 1))).toEqual([])
  })
  test('a driver that was frozen is replaced, and the job goes on with the other', () => {
    const replaced = () => goodTale().freeze('d1', 'driver').thaw('d1', false, 'driver').fail('j', 'COLLECTOR_REPLACED')
    const goesOn = (tale: Tale) => tale.add('d2', { type: 'attached', job: 'j', how: 'attach' })
    expect(rulesBroken(goesOn(replaced()).end('j', { how: 'complete' }, 'd2'))).toEqual([])
    expect(rulesBroken(replaced())).toEqual(['lost'])
    expect(rulesBroken(goodTale().fail('j', 'COLLECTOR_REPLACED').end('j', { how: 'complete' }, 'd2'))).toEqual([
      'unexplained error',
    ])
  })
  test('a driver is replaced by one whose attach came through later, and by none that attached before', () => {
    const attach = (tale: Tale, by: string) => tale.add(by, { type: 'attached', job: 'j', how: 'attach' })
    const taken = () => attach(new Tale().begin('j').run('w1/1', 'j', 0, 1).kill('d1', 'driver'), 'd2')
    const finish = (tale: Tale, by: string) => tale.seeBy(by, 'j', 0, 1).end('j', { how: 'complete' }, by)
    const later = attach(taken(), 'd3').fail('j', 'COLLECTOR_REPLACED', undefined, 'd2')
    expect(rulesBroken(finish(later, 'd3'))).toEqual([])
    const earlier = attach(taken(), 'd3').fail('j', 'COLLECTOR_REPLACED', undefined, 'd3')
    expect(rulesBroken(finish(earlier, 'd2'))).toEqual(['unexplained error'])
    // The one that is replaced may hear of it before the other has its answer.
    const heardFirst = (ms: number) => attach(taken().fail('j', 'COLLECTOR_REPLACED', undefined, 'd2').wait(ms), 'd3')
    expect(rulesBroken(finish(heardFirst(30), 'd3'))).toEqual([])
    expect(rulesBroken(finish(heardFirst(20_000), 'd3'))).toEqual(['unexplained error'])
    // One that asked for the same id again before, and was frozen until after.
    const sameId = (state: 'submitted' | 'unknown', end: (tale: Tale) => Tale) => {
      const asked = new Tale().begin('j', { count: 3 }).run('w1/1', 'j', 0, 1, 2).kill('d1', 'driver')
      asked.add('d2', { type: 'attached', job: 'j', how: 'same id' })
      const replaced = attach(asked, 'd3').fail('j', 'COLLECTOR_REPLACED', undefined, 'd3')
      return end(replaced.submit('d2', 'j', [3, 4], state).seeBy('d2', 'j', 0, 1, 2))
    }
    const isComplete = (tale: Tale) => tale.end('j', { how: 'complete' }, 'd2')
    const isReplaced = (tale: Tale) => tale.fail('j', 'COLLECTOR_REPLACED', undefined, 'd2')
    expect(rulesBroken(sameId('submitted', isComplete))).toEqual([])
    // It had the job when the other was replaced, or else somebody must have had it.
    expect(rulesBroken(sameId('unknown', isComplete))).toEqual([])
    expect(rulesBroken(sameId('unknown', isReplaced))).toContain('unexplained error')
    // Redis forgot that it attached: the one before it has the job again.
    const forgotten = attach(taken(), 'd3').lose().fail('j', 'COLLECTOR_REPLACED', undefined, 'd3')
    expect(rulesBroken(finish(forgotten, 'd2'))).toEqual([])
  })
})

describe('a task is charged for what it did itself', () => {
  const poisoned = (index: number, code: string) =>
    new Tale()
      .begin('j', { workload: 'poison', poison: { 1: 'exit' } })
      .run('w1/1', 'j', 0, 1)
      .add('d1', { type: 'failed', job: 'j', index, code })
  test('the poisonous one fails with its code', () => {
    const tale = new Tale()
      .begin('j', { workload: 'poison', poison: { 1: 'exit' } })
      .run('w1/1', 'j', 0, 1)
      .see('j', 0)
    expect(
      rulesBroken(tale.add('d1', { type: 'failed', job: 'j', index: 1, code: 'TASK_QUARANTINED' }).end('j')),
    ).toEqual([])
  })
  test('with another code, or with a result, something is wrong', () => {
    expect(rulesBroken(poisoned(1, 'TASK_FAILED').end('j'))).toContain('unexplained error')
    expect(
      rulesBroken(
        new Tale()
          .begin('j', { workload: 'poison', poison: { 1: 'exit' } })
          .run('w1/1', 'j', 0, 1)
          .see('j', 0, 1)
          .end('j'),
      ),
    ).toEqual(['wrong value'])
  })
  test('one that fills its heap may run out of time first, if it had all of it', () => {
    const timedOut = (afterMs: number) =>
      new Tale()
        .begin('j', { workload: 'poison', poison: { 1: 'heap' } })
        .run('w1/1', 'j', 0, 1)
        .wait(afterMs)
        .add('d1', { type: 'failed', job: 'j', index: 1, code: 'TASK_TIMEOUT' })
        .see('j', 0)
    expect(rulesBroken(timedOut(10_000).end('j'))).not.toContain('unexplained error')
    expect(rulesBroken(timedOut(5000).end('j'))).toContain('unexplained error')
  })
  test('one whose process stood still until its time was over may have run out of it, whatever it does', () => {
    const exits = (frozen: boolean, afterMs: number) => {
      const tale = new Tale().begin('j', { workload: 'poison', poison: { 1: 'exit' } }).run('w1/1', 'j', 0, 1)
      if (frozen)
        tale
          .freeze('w1')
          .wait(afterMs)
          .add('harness', { type: 'thawed', what: 'worker', pid: 'w1', declaredDead: false })
      else tale.wait(afterMs)
      return tale.add('d1', { type: 'failed', job: 'j', index: 1, code: 'TASK_TIMEOUT' }).see('j', 0).end('j')
    }
    expect(rulesBroken(exits(true, 10_000))).not.toContain('unexplained error')
    expect(rulesBroken(exits(true, 5000))).toContain('unexplained error')
    expect(rulesBroken(exits(false, 10_000))).toContain('unexplained error')
  })
  test('one that never ends is set aside when its process died under it three times, not sooner', () => {
    const setAside = (deaths: number) => {
      const tale = new Tale().begin('j', { workload: 'poison', poison: { 1: 'loop' } }).run('w1/1', 'j', 0)
      for (let death = 0; death < deaths; death++)
        tale.add(`w${death}/1`, { type: 'started', job: 'j', index: 1, attempt: 1 })
      return tale.add('d1', { type: 'failed', job: 'j', index: 1, code: 'TASK_QUARANTINED' }).see('j', 0).end('j')
    }
    expect(rulesBroken(setAside(3))).not.toContain('unexplained error')
    expect(rulesBroken(setAside(2))).toContain('unexplained error')
  })
  test('a neighbour that is set aside, or tried again, is charged wrongly', () => {
    expect(rulesBroken(poisoned(0, 'TASK_QUARANTINED').end('j'))).toContain('charged wrongly')
    const again = goodTale().add('w2/1', { type: 'started', job: 'j', index: 0, attempt: 2 })
    expect(rulesBroken(again.end('j'))).toEqual(['charged wrongly'])
  })
})

describe('a task that computes for long', () => {
  const burning = () => new Tale().begin('j', { workload: 'burn', count: 1 }).run('w1/1', 'j', 0)
  test('runs once', () => {
    expect(rulesBroken(burning().see('j', 0).end('j'))).toEqual([])
    expect(rulesBroken(burning().run('w2/1', 'j', 0).see('j', 0).end('j'))).toEqual(['ran twice'])
  })
  test('runs again when its worker was killed', () => {
    expect(rulesBroken(burning().kill('w1').run('w2/1', 'j', 0).see('j', 0).end('j'))).toEqual([])
  })
})

test('after each restart of Redis, the time until a thread claims again is told', () => {
  const tale = new Tale().begin('j', { count: 3 }).claim('w1/1', 'c', span('j', 0))
  const fault = (state: 'begins' | 'ends', name = 'redis-kill') =>
    tale.add('harness', { type: 'fault', fault: name, state })
  fault('begins')
  fault('ends')
  tale.wait(90).claim('w1/1', 'd', span('j', 1))
  fault('begins', 'net-cut')
  fault('ends', 'net-cut')
  fault('ends', 'redis-loading')
  tale.wait(490).claim('w1/1', 'e', span('j', 2))
  expect(judge(tale).resumption).toEqual({ count: 2, p50Ms: 500, p90Ms: 500, p99Ms: 500, mostMs: 500 })
})

test('recovery is the time from a worker’s death until what it held runs elsewhere', () => {
  const tale = new Tale()
    .begin('j')
    .claim('w1/1', 'c1', span('j', 0, 2))
    .run('w1/1', 'j', 0)
    .kill('w1')
    .wait(2500)
  const { recovery } = judge(tale.run('w2/1', 'j', 0, 1).see('j', 0, 1).end('j'))
  const all = { count: 1, p50Ms: 2510, p90Ms: 2510, p99Ms: 2510, mostMs: 2510 }
  expect(recovery).toEqual({ all, undisturbed: all })
})

test('what Redis had lost, or given to others, before the worker was killed does not count', () => {
  const claimed = () => new Tale().begin('j').claim('w1/1', 'c1', span('j', 0, 2))
  const rest = (tale: Tale) =>
    judge(tale.kill('w1').wait(9000).run('w2/1', 'j', 0, 1).see('j', 0, 1).end('j')).recovery.all.count
  expect(rest(claimed())).toBe(1)
  expect(rest(claimed().lose())).toBe(0)
  expect(rest(claimed().freeze('w1').thaw('w1'))).toBe(0)
  expect(rest(claimed().freeze('w1').thaw('w1', false))).toBe(1)
})

test.each([
  ['that was over a lease before is none between', -5000, 1],
  ['that ended within the lease before the kill may have begun the grace anew', -500, 0],
  ['after the kill disturbs it', 1000, 0],
])('a fault %s', (_, atMs, undisturbed) => {
  const fault = (tale: Tale) =>
    tale
      .add('harness', { type: 'fault', fault: 'redis-kill', state: 'begins' })
      .add('harness', { type: 'fault', fault: 'redis-kill', state: 'ends' })
  const tale = new Tale().begin('j')
  if (atMs < 0) fault(tale).wait(-atMs)
  tale.claim('w1/1', 'c1', span('j', 0, 2)).kill('w1')
  if (atMs > 0) fault(tale.wait(atMs))
  const { recovery } = judge(tale.wait(500).run('w2/1', 'j', 0, 1).see('j', 0, 1).end('j'), 2000)
  expect(recovery.all.count).toBe(1)
  expect(recovery.undisturbed.count).toBe(undisturbed)
})

describe('what may stay in Redis', () => {
  const mayExpire = (tale: Tale) => excusesOf(tellStory(tale.events)).mayExpire('j')
  test('is a job that has lost tasks', () => {
    expect(mayExpire(new Tale().begin('j').fail('j', 'TASKS_LOST'))).toBe(true)
    expect(mayExpire(new Tale().begin('j').end('j'))).toBe(false)
  })
  test('is a job that came back after its driver had ended it and was killed', () => {
    const ended = () => new Tale().begin('j').end('j')
    expect(mayExpire(ended().kill('d1', 'driver').lose())).toBe(true)
    expect(mayExpire(ended().lose())).toBe(false)
    expect(mayExpire(ended().kill('d1', 'driver'))).toBe(false)
  })
  test('is a job that only its driver knew, when that was killed', () => {
    const unknown = () => new Tale().submit('d1', 'j', [0, 1])
    expect(mayExpire(unknown().kill('d1', 'driver'))).toBe(true)
    expect(mayExpire(unknown())).toBe(false)
    expect(mayExpire(unknown().lose())).toBe(true)
    expect(mayExpire(new Tale().lose().submit('d1', 'j', [0, 1]))).toBe(false)
  })
})

test('a sum may be handed out twice only where Redis forgot that the driver was replaced', () => {
  const sum = { how: 'complete', aggregate: valueOf(7, 0) + valueOf(7, 1) } as const
  const taken = () =>
    new Tale()
      .begin('j', { workload: 'reduce' })
      .run('w1/1', 'j', 0, 1)
      .add('d2', { type: 'attached', job: 'j', how: 'attach' })
      .end('j', sum, 'd2')
  expect(rulesBroken(taken().end('j', sum))).toEqual(['wrong aggregate'])
  expect(rulesBroken(taken().lose().end('j', sum))).toEqual([])
})
