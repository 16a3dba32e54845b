import { describe, expect, test } from 'vitest'
import { processEnd, encodeProcessEnd } from '../../src/protocol/evidence.ts'
import { deadWorker, deathEvidence } from '../../src/recovery/dead-worker.ts'
import { workerInfo } from '../store/support/lane.ts'

const info = JSON.stringify(workerInfo('w', { host: 'h', pid: 7 }))
const stats = JSON.stringify({ rssBytes: 300 * 1024 * 1024, lines: ['thread 0: earlier'] })
const evidenceOf = (record: { info?: string; stats?: string; end?: string }) =>
  deathEvidence(
    deadWorker('w', { info: record.info ?? null, stats: record.stats ?? null, end: record.end ?? null }),
    { maxDeaths: 3, leaseMs: 6000 },
    ['its input was 1'],
  )
const died = 'its process died 3 times while this task was all that its thread ran'
const vanished = 'it was not heard of for 6000 ms, and nobody saw its exit code or signal'
const memory = 'at its last heartbeat the process had 300 MB of memory'

describe('the evidence of a process that died', () => {
  test.each([
    [
      'has its signal and last lines where somebody saw it end',
      { info, stats, end: encodeProcessEnd(processEnd(null, 'SIGSEGV', ['thread 0: last'])) },
      [died, 'the last was h:7, which was ended by SIGSEGV', 'its input was 1', memory, 'log: thread 0: last'],
    ],
    [
      'has its exit code, and the lines of its last heartbeat where it wrote nothing more',
      { info, stats, end: encodeProcessEnd(processEnd(134, null, [])) },
      [died, 'the last was h:7, which ended with exit code 134', 'its input was 1', memory, 'log: thread 0: earlier'],
    ],
    [
      'says that nobody saw its end, and has the lines of its last heartbeat',
      { info, stats },
      [died, `the last was h:7, which vanished: ${vanished}`, 'its input was 1', memory, 'log: thread 0: earlier'],
    ],
    [
      'has what is left where the record is damaged',
      { info: 'x', stats: '[]', end: '{"how":7}' },
      [died, `the last was w, which vanished: ${vanished}`, 'its input was 1'],
    ],
  ])('%s', (_, record, evidence) => {
    expect(evidenceOf(record)).toEqual(evidence)
  })
})
