import { expect, test } from 'vitest'
import { sparingLog } from '../../src/runtime/log.ts'

test('the same warning is given once in a while, others and what tasks log always', () => {
  const lines: string[] = []
  const say = (line: string) => {
    lines.push(line)
  }
  let nowMs = 0
  const log = sparingLog({ info: say, warn: say }, 1000, () => nowMs)
  for (nowMs = 0; nowMs <= 2000; nowMs += 100) log.warn('refused')
  log.warn('other')
  log.info('from a task')
  log.info('from a task')
  expect(lines).toEqual(['refused', 'refused', 'refused', 'other', 'from a task', 'from a task'])
  for (let i = 0; i < 10_000; i++) log.warn(`line ${i}`)
  expect(lines).toHaveLength(10_006)
})
