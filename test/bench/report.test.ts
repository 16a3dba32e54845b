import { describe, expect, test } from 'vitest'
import { laneLimit, predictRate } from '../../bench/core/model.ts'
import { hasWrongResult } from '../../bench/core/outcome.ts'
import type { BenchRun } from '../../bench/core/outcome.ts'
import { atLeast, atMost, measured } from '../../bench/core/report.ts'
import type { Cost, RowReport } from '../../bench/core/report.ts'
import { metgChart, throughputChart } from '../../bench/report/charts.ts'
import { resultsPage } from '../../bench/report/results.ts'
import { fillIn, scalingTables } from '../../bench/report/scaling.ts'

const report: RowReport = {
  title: 'no-op tasks',
  unit: 'tasks/s',
  sides: [measured('Millrace', 'map()', [2_000_000, 3_000_000]), measured('A <peer>', 'as it says', [1000])],
  verdicts: [atLeast('tasks/s', 2_500_000, 2e6), atMost('B', 13, 12)],
  notes: ['a note'],
  curves: [
    {
      side: 'Millrace',
      points: [
        { workUs: 0.5, granularityUs: 1, efficiency: 0.4 },
        { workUs: 9, granularityUs: 10, efficiency: 0.9 },
      ],
    },
  ],
}

const cost: Cost = { workUs: 100, threads: 1, tasksPerSecond: 9000, driverUs: 1, redisUs: 2, workerUs: 100 }

function runOf(outcomes: BenchRun['outcomes']): BenchRun {
  const machine = {
    date: '2026-01-02T03:04:05.000Z',
    cpu: 'a CPU',
    cores: 2,
    memoryGb: 8,
    system: 'Linux',
    node: '20',
    redis: '7',
    millrace: '0',
    peers: {},
  }
  return { machine, command: 'npm run bench', quick: false, rounds: 5, seconds: 1, outcomes }
}

describe('the results page', () => {
  const failed = { name: 'payload', error: 'no Redis', wrong: false, seconds: 1 }
  const page = resultsPage(runOf([{ name: 'noop-map', report, seconds: 1 }, failed]), [])

  test('says of every bar whether it was met', () => {
    expect(page).toContain('| [noop-map](#noop-map) | tasks/s ≥ 2,000,000 | 2,500,000 | met |')
    expect(page).toContain('| [noop-map](#noop-map) | B ≤ 12 | 13 | **not met** |')
    expect(page).toContain('| [payload](#payload) | | **could not be run** | **not met** |')
  })

  test('has the median and the spread of every side, and how it is used', () => {
    expect(page).toContain('| Millrace | 2,500,000 (2,000,000 – 3,000,000) | 2 | map() |')
  })
})

test('only a wrong result makes a run fail', () => {
  const ok = { name: 'a', report }
  expect(hasWrongResult([ok, { name: 'b', error: 'it broke', wrong: false }])).toBe(false)
  expect(hasWrongResult([ok, { name: 'b', error: 'result 1 is 2', wrong: true }])).toBe(true)
})

describe('the charts', () => {
  test('place values by their logarithm, and escape names', () => {
    const chart = throughputChart(report)
    expect(chart).toContain('A &lt;peer&gt;')
    const [ours, peer] = [...chart.matchAll(/<circle cx="([\d.]+)"/g)].map(match => Number(match[1]))
    // Axis 1 k … 10 M over 520 px: the middle of 2 M and 3 M, and 1 k at its left end.
    expect(ours).toBeCloseTo(130 + (Math.log10(2500) / 4) * 520, 0)
    expect(peer).toBeCloseTo(130, 0)
  })

  test('say where each curve crosses half', () => {
    expect(metgChart(report)).toContain('Millrace: 1.58 µs')
  })
})

describe('the scaling model', () => {
  test('is held up by whichever is busy first', () => {
    expect(predictRate(cost, { threads: 1, cores: Infinity })).toBeCloseTo(1e4)
    expect(predictRate(cost, { threads: 1000, cores: Infinity })).toBeCloseTo(5e5)
    expect(predictRate({ ...cost, driverUs: 4 }, { threads: 1000, cores: Infinity })).toBeCloseTo(2.5e5)
    expect(predictRate(cost, { threads: 8, cores: 2 })).toBeCloseTo(2e6 / 103)
    expect(laneLimit(cost)).toEqual({ threads: 50, tasksPerSecond: 5e5 })
  })

  test('fills in what was measured, and leaves everything else', () => {
    const page = 'a\n<!-- measured: checks -->\nold\n<!-- end -->\nb\n<!-- measured: lanes -->\nkept\n<!-- end -->\n'
    const costs = [cost, { ...cost, threads: 2, tasksPerSecond: 18_000 }]
    const filled = fillIn(page, scalingTables(runOf([{ name: 'scaling', report: { ...report, costs }, seconds: 1 }])))
    expect(filled).toContain('| 100 µs | 2 | 19,420 | 18,000 | 0.927 |')
    expect(filled).not.toContain('old')
    expect(filled).toMatch(/^a\n<!-- measured: checks -->\n\|/)
    expect(filled).toContain('-->\nb\n<!-- measured: lanes -->\nkept\n<!-- end -->\n')
  })
})
