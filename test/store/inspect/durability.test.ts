import { describe, expect, test } from 'vitest'
import { describeDurability, readDurability } from '../../../src/store/inspect/durability.ts'
import type { DurabilityFacts } from '../../../src/store/inspect/durability.ts'
import { useRedis } from '../support/lane.ts'

const redis = useRedis()

const facts: DurabilityFacts = {
  aof: 'off',
  aofBroken: false,
  lastSnapshotAgeMs: 180_000,
  snapshotFailed: false,
  writesSinceSnapshot: 500,
  savesByItself: true,
  neverSaved: false,
  replicas: 0,
  role: 'master',
}

const table: readonly [
  name: string,
  facts: Partial<DurabilityFacts>,
  lossWindowMs: number | undefined,
  summary: RegExp,
][] = [
  ['synced always', { aof: 'always' }, 0, /loses nothing that was acknowledged/],
  ['synced every second', { aof: 'everysec' }, 2000, /up to two seconds/],
  ['synced by the system', { aof: 'no' }, undefined, /usually up to half a minute/],
  ['a managed server that does not tell', { aof: 'unknown' }, undefined, /does not tell/],
  ['a broken append-only file', { aof: 'always', aofBroken: true }, undefined, /could not be written/],
  ['snapshots only', {}, 180_000, /3 min old: a crash loses the 500 writes since then/],
  ['snapshots only, nothing written since', { writesSinceSnapshot: 0 }, 0, /loses the 0 writes/],
  [
    'nothing at all',
    { neverSaved: true, savesByItself: false },
    undefined,
    /no snapshot since it started 3 min ago and makes no snapshots by itself: a crash loses all 500/,
  ],
  ['a failed snapshot', { snapshotFailed: true }, 180_000, /last attempt to make one failed/],
  ['a failed snapshot beside the file', { aof: 'everysec', snapshotFailed: true }, 2000, /The last snapshot failed/],
  ['replicas', { aof: 'always', replicas: 2 }, 0, /2 replicas follow/],
]

describe('describeDurability', () => {
  test.each(table)('%s', (_name, changed, lossWindowMs, summary) => {
    const report = describeDurability({ ...facts, ...changed })
    expect(report.lossWindowMs).toBe(lossWindowMs)
    expect(report.summary).toMatch(summary)
  })
})

test('reads what a real server says, with and without the append-only file', async () => {
  const client = redis.open()
  await client.set('key', 'value')
  const without = await readDurability([client])
  expect(without).toMatchObject({ aof: 'off', lossWindowMs: undefined, replicas: 0 })
  expect(without.writesSinceSnapshot).toBeGreaterThan(0)
  expect(without.lastSnapshotAgeMs).toBeLessThan(60_000)
  await client.config('SET', 'appendonly', 'yes')
  expect(await readDurability([client])).toMatchObject({ aof: 'everysec', lossWindowMs: 2000 })
  await client.config('SET', 'appendfsync', 'always')
  expect(await readDurability([client])).toMatchObject({ aof: 'always', lossWindowMs: 0 })
  await client.config('SET', 'appendonly', 'no')
})
