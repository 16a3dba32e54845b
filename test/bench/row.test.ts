import { describe, expect, test } from 'vitest'
import { startRow } from '../../bench/start-row.ts'

describe('a row of the benchmark', () => {
  test('runs for real, in a process of its own, and reports what it has checked', { timeout: 90_000 }, async () => {
    const outcome = await startRow('stream', { rounds: 1, quick: true })
    if ('error' in outcome) throw new Error(outcome.error)
    const { report } = outcome
    expect(report.title).toBe('1 M tasks streamed through one job')
    expect(report.sides.map(({ side }) => side)).toEqual(['driver RSS', 'Redis used_memory', 'Redis RSS'])
    expect(report.verdicts).toHaveLength(3)
    for (const { value } of report.verdicts) expect(value).toBeGreaterThan(1)
    expect(report.numbers?.['tasks/s']).toBeGreaterThan(0)
  })

  test('that can’t be run is an outcome, and not a wrong result', async () => {
    const outcome = await startRow('no-such-row', { rounds: 1, quick: true })
    expect(outcome).toEqual({ name: 'no-such-row', error: expect.stringContaining('code 1') as string, wrong: false })
  })
})
