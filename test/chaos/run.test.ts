import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import type { Report } from '../../chaos/report.ts'
import { spawnNode } from '../support/process.ts'

const main = fileURLToPath(new URL('../../chaos/main.ts', import.meta.url))

/** The run itself says what was wrong, and where its histories are. */
async function run(...args: string[]): Promise<Report> {
  const child = spawnNode(['--import', 'tsx', main, '--json', ...args])
  const { code } = await child.exited
  const [line] = child.stdout
  if (line === undefined) throw new Error(`the run ended with ${String(code)}:\n${child.stderr.slice(-20).join('\n')}`)
  return JSON.parse(line) as Report
}

test(
  'workers, drivers and connections fail, Redis keeps all: nothing is lost, nothing counts twice',
  { timeout: 240_000 },
  async () => {
    const faults = 'worker-kill,worker-freeze,driver-kill,redis-kill,net-drop-replies,net-cut,redis-kill-pubsub,poison'
    const report = await run('--seed', '20', '--seconds', '12', '--persistence', 'always', '--fault', faults)
    expect(report.violations).toEqual([])
    // Redis lost nothing, so no job may have.
    expect(report.counts.reported).not.toHaveProperty('TASKS_LOST')
    expect(report.counts.results).toBeGreaterThan(100)
  },
)

test('the full mix: Redis comes back with less, is full, slow, or away', { timeout: 240_000 }, async () => {
  const report = await run('--seed', '21', '--seconds', '20')
  expect(report.violations).toEqual([])
  expect(Object.keys(report.faults).length).toBeGreaterThan(15)
})

test('an option that there is not is refused', async () => {
  const child = spawnNode(['--import', 'tsx', main, '--fault', 'flood'])
  expect(await child.exited).toEqual({ code: 2, signal: null })
  expect(child.stderr[0]).toContain('flood')
})
