import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { faultNames } from '../../chaos/faults/index.ts'
import { readHistory } from '../../chaos/history.ts'
import { leftJobs } from '../../chaos/left-jobs.ts'
import { readOptions } from '../../chaos/options.ts'
import type { ChaosOptions } from '../../chaos/options.ts'
import { namesOf, planLane } from '../../chaos/plan.ts'
import { removeWithThisProcess } from '../support/guardian.ts'
import { Tale } from './support/tale.ts'

describe('the plan of faults', () => {
  const take = (seed: number, count: number) => {
    const plan = planLane('redis', faultNames, seed)
    return Array.from({ length: count }, () => plan.next().value)
  }
  test('is the same for the same seed, and another for another', () => {
    expect(take(5, 50)).toEqual(take(5, 50))
    expect(take(5, 50)).not.toEqual(take(6, 50))
  })
  test('has every fault of its lane once before it has one twice', () => {
    const own = namesOf('redis', faultNames)
    const plan = take(7, 3 * own.length).map(planned => planned?.fault ?? '')
    for (let from = 0; from < plan.length; from += own.length) {
      expect(plan.slice(from, from + own.length).sort()).toEqual([...own].sort())
    }
  })
  test('is empty where no fault of the lane is wanted', () => {
    expect([...planLane('redis', ['worker-kill'], 1)]).toEqual([])
  })
})

describe('a history', () => {
  const line = JSON.stringify({ at: 1, by: '7', type: 'submitted', job: 'j' })
  const written = (text: string) => {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-'))
    removeWithThisProcess(folder)
    const path = join(folder, 'h.jsonl')
    writeFileSync(path, text)
    return path
  }
  test('may end in the middle of a line: its process was killed', () => {
    expect(readHistory(written(`${line}\n${line.slice(0, 9)}`))).toEqual([JSON.parse(line)])
    expect(readHistory(written(''))).toEqual([])
  })
  test('with a broken line in the middle is not believed', () => {
    expect(() => readHistory(written(`${line.slice(0, 9)}\n${line}\n`))).toThrow('line 1 of the history')
  })
  test('is read in pieces, wherever they end: it may be longer than a string can be', () => {
    const path = written(`${line}\n`.repeat(50))
    for (const bytes of [7, line.length, line.length + 1, 1000])
      expect(readHistory(path, bytes)).toEqual(Array.from({ length: 50 }, () => JSON.parse(line) as unknown))
  })
})

describe('the jobs that a driver leaves', () => {
  const byOf = (tale: Tale, dice: () => number) => leftJobs(tale.events, dice).map(({ job, by }) => [job, by])
  test('are those that it began and did not end', () => {
    expect(byOf(new Tale().begin('a').end('a').begin('b'), () => 0.9)).toEqual([['b', 'attach']])
  })
  test('are gone on with under the same id, for some streams whose results were not all seen', () => {
    expect(byOf(new Tale().begin('a').see('a', 0), () => 0)).toEqual([['a', 'same id']])
    expect(byOf(new Tale().begin('a').see('a', 0, 1), () => 0)).toEqual([['a', 'attach']])
    expect(byOf(new Tale().begin('a', { workload: 'reduce' }), () => 0)).toEqual([['a', 'attach']])
  })
  test('are still those that were taken from a driver that had been frozen', () => {
    expect(byOf(new Tale().begin('a').fail('a', 'COLLECTOR_REPLACED'), () => 0.9)).toEqual([['a', 'attach']])
  })
})

describe('the driver that has a job', () => {
  const attached = () => new Tale().begin('a').add('d2', { type: 'attached', job: 'a', how: 'attach' })
  test('is the one that attached last: what its predecessor still ends is left', () => {
    expect(leftJobs(attached().end('a').events, () => 0.9)).toHaveLength(1)
    expect(leftJobs(attached().end('a', { how: 'complete' }, 'd2').events, () => 0.9)).toEqual([])
  })
})

describe('the options of a run', () => {
  test('are the full mix unless faults are named', () => {
    const ofSingle = faultNames.filter(name => name !== 'failover')
    expect(readOptions([])).toMatchObject({ seconds: 60, persistence: 'everysec', faults: ofSingle, json: false })
    expect(readOptions(['--fault', 'worker-kill,poison'])).toMatchObject({ faults: ['worker-kill'] })
  })
  test('leave out what a server or a persistence does not know, and refuse it by name', () => {
    const faultsOf = (...args: string[]) => (readOptions(args) as ChaosOptions).faults
    expect(faultsOf('--persistence', 'rdb')).not.toContain('redis-truncate')
    expect(faultsOf('--server', 'cluster')).toContain('failover')
    expect(faultsOf('--server', 'cluster')).not.toContain('net-cut')
    expect(() => readOptions(['--fault', 'failover'])).toThrow('--fault failover')
  })
  test('refuse what there is not', () => {
    expect(() => readOptions(['--fault', 'flood'])).toThrow('--fault can\'t be "flood"')
    expect(() => readOptions(['--seconds', 'many'])).toThrow('--seconds can\'t be "many"')
    expect(() => readOptions(['--sed', '1'])).toThrow('--sed')
  })
})
