import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import type { Report } from '../../chaos/report.ts'
import { spawnNode } from '../support/process.ts'

const timeout = 240_000
const main = fileURLToPath(new URL('../../chaos/main.ts', import.meta.url))

/** The run itself says what was wrong, and where its histories are. */
async function run(...args: string[]): Promise<Report> {
  const child = spawnNode(['--import', 'tsx', main, '--json', ...args])
  const { code } = await child.exited
  const [line] = child.stdout
  if (line === undefined) throw new Error(`the run ended with ${String(code)}:\n${child.stderr.slice(-20).join('\n')}`)
  return JSON.parse(line) as Report
}

// One after the other, each short: what a long mix finds is the command's to find.
test(
  'workers, drivers and connections fail, Redis keeps all: nothing is lost, nothing counts twice',
  { timeout },
  async () => {
    const faults = 'worker-kill,driver-kill,redis-kill,net-drop-replies,net-cut,redis-kill-pubsub,poison'
    const report = await run('--seed', '20', '--seconds', '6', '--persistence', 'always', '--fault', faults)
    expect(report.violations).toEqual([])
    // Redis lost nothing, so no job may have.
    expect(report.counts.reported).not.toHaveProperty('TASKS_LOST')
    expect(report.counts.results).toBeGreaterThan(100)
  },
)

test('a worker that was frozen tries to commit what it had held, and is refused', { timeout }, async () => {
  const report = await run('--seed', '22', '--seconds', '3', '--fault', 'worker-freeze')
  expect(report.violations).toEqual([])
  expect(report.faults['worker-freeze']).toBeGreaterThan(0)
})

test('Redis comes back with less, is full, slow, or away', { timeout }, async () => {
  const faults = 'driver-kill,redis-truncate,redis-flushall,redis-loading,redis-maxmemory,redis-sleep,net-half-open'
  const report = await run('--seed', '21', '--seconds', '10', '--fault', faults)
  expect(report.violations).toEqual([])
  expect(Object.keys(report.faults).sort()).toEqual(faults.split(',').sort())
})

test('an option that there is not is refused', async () => {
  const child = spawnNode(['--import', 'tsx', main, '--fault', 'flood'])
  expect(await child.exited).toEqual({ code: 2, signal: null })
  expect(child.stderr[0]).toContain('flood')
})
