import { describe, expect, test } from 'vitest'
import { MalformedDataError } from '../../src/errors.ts'
import { decodePartRecord, decodeWorkerInfo, partFieldArguments } from '../../src/protocol/records.ts'
import type { PartFields } from '../../src/protocol/records.ts'
import { workerInfo } from '../store/support/lane.ts'

const fields: PartFields = {
  task: 'square of a number',
  hash: 'c0de',
  kind: 'range',
  start: -1.5,
  step: 0.25,
  total: 1_000_000,
  priority: -3,
  detached: true,
  reducer: 'add',
  shared: true,
  keepMs: 86_400_000,
}

function recordOf(pairs: readonly string[], more: Readonly<Record<string, string>> = {}) {
  const map = new Map(Object.entries(more).map(([field, value]) => [field, Buffer.from(value)]))
  for (let i = 0; i + 1 < pairs.length; i += 2) map.set(pairs[i] ?? '', Buffer.from(pairs[i + 1] ?? ''))
  return map
}

describe('a part’s record', () => {
  test('is read as the driver wrote it', () => {
    const record = decodePartRecord(
      recordOf(partFieldArguments(fields), { state: 'open', submitted: '7', accumulator: 'sum', cursor: '3' }),
    )
    expect(record).toMatchObject({ ...fields, state: 'open', submitted: 7, complete: false, waiting: 0, settled: 0 })
    expect(record.checkpoint).toEqual({ cursor: 3, accumulator: Buffer.from('sum') })
  })

  test('of a cancelled job needs no more than its state', () => {
    expect(decodePartRecord(recordOf([], { state: 'cancelled' }))).toMatchObject({
      state: 'cancelled',
      submitted: 0,
      checkpoint: undefined,
    })
  })

  test.each([{ state: 'other' }, {}, { state: 'open', submitted: 'many' }, { state: 'open', keepMs: 'NaN' }])(
    '%j is none',
    more => {
      expect(() => decodePartRecord(recordOf([], more as Record<string, string>))).toThrow(MalformedDataError)
    },
  )
})

describe('a worker’s description', () => {
  test('is read as it was written', () => {
    const info = workerInfo('w', { reducers: ['add'] })
    expect(decodeWorkerInfo(JSON.stringify(info))).toEqual(info)
  })

  test('of another kind is read without what is wrong in it', () => {
    const odd = { host: 7, pid: 'x', tasks: ['good', 3, null], reducers: 'add', threads: null }
    expect(decodeWorkerInfo(JSON.stringify(odd))).toMatchObject({
      host: '',
      pid: 0,
      tasks: ['good'],
      reducers: [],
      threads: 0,
    })
    expect(decodeWorkerInfo('null')).toMatchObject({ id: '' })
    expect(() => decodeWorkerInfo('{')).toThrow(MalformedDataError)
  })
})
