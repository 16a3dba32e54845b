import { describe, expect, test } from 'vitest'
import { renderJob, renderJobs, renderQuarantine } from '../../src/cli/jobs-text.ts'
import { decodeQuarantined } from '../../src/protocol/evidence.ts'
import { styleFor } from '../../src/cli/style.ts'
import type { JobView } from '../../src/store/inspect/reports.ts'

const plain = styleFor({ isTTY: false }, {})
const job: JobView = {
  id: 'nightly',
  task: 'score',
  hash: '0123456789abcdef',
  state: 'open',
  detached: false,
  priority: 0,
  createdAtMs: 1_000,
  total: 10_000,
  submitted: 4_000,
  waiting: 1_000,
  running: 40,
  delayed: 3,
  done: 2_955,
  failed: 2,
  released: 2_900,
  expiresInMs: undefined,
}

test('the list says how far each job is, and what it waits for', () => {
  const lines = [
    { job, waitsFor: undefined },
    { job: { ...job, id: 'other', total: undefined, failed: 0 }, waitsFor: 'retry in 3 s' },
  ]
  expect(renderJobs(lines, 61_000, plain).split('\n')).toEqual([
    'job      task     age   done       of  running  failed  waits for',
    'nightly  score  1 min  2,955   10,000       40       2',
    'other    score  1 min  2,955  ≥ 4,000       40       0  retry in 3 s',
  ])
})

test('one job is shown with all that is known of it, and nothing that is not', () => {
  const text = renderJob({ job, waitsFor: undefined }, 61_000, plain)
  expect(text).toMatch(/^inputs +4,000 submitted of 10,000$/m)
  expect(text).toMatch(/^waits for +nothing$/m)
  expect(text).not.toContain('kept for')
  expect(renderJob({ job: { ...job, expiresInMs: 7_200_000 }, waitsFor: 'x' }, 61_000, plain)).toMatch(
    /^kept for +2 h$/m,
  )
})

describe('a quarantined task', () => {
  const entry = `${JSON.stringify({ at: 1_000, worker: 'host:7/0', evidence: ['process vanished', 'again'] })}\n{"chunk":1}`

  test('is shown with its evidence', () => {
    const text = renderQuarantine([decodeQuarantined('a:b:17', Buffer.from(entry))], 61_000, plain)
    expect(text.split('\n').slice(1)).toEqual([
      '  a:b/17  1 min ago, last on host:7/0',
      '    process vanished',
      '    again',
    ])
  })

  test.each(['', 'no json', '[]', 'null', '{"at":"x","evidence":{}}'])(
    'with damaged evidence %j is shown all the same',
    damaged => {
      expect(decodeQuarantined('job:3', Buffer.from(damaged))).toEqual({
        job: 'job',
        index: 3,
        at: 0,
        worker: '',
        evidence: [],
        chunk: undefined,
      })
    },
  )
})
