import type { Redis } from 'ioredis'
import { redisNowMs } from './census.ts'
import { inWords, readInfo, readSetting } from './info.ts'
import type { Info } from './info.ts'
import type { DurabilityReport } from './reports.ts'

/** `everysec` syncs once a second, and lets one sync be late by another before it holds writes back. */
const everysecWindowMs = 2000

/** What a crash of Redis would lose right now; of a Cluster, what its worst master would. */
export async function readDurability(servers: readonly Redis[]): Promise<DurabilityReport> {
  const reports = await Promise.all(servers.map(server => readServerDurability(server)))
  const [worst] = reports.sort((a, b) => (b.lossWindowMs ?? Infinity) - (a.lossWindowMs ?? Infinity))
  if (worst === undefined) throw new Error('There is no server to ask.')
  return worst
}

async function readServerDurability(server: Redis): Promise<DurabilityReport> {
  const [info, nowMs, fsync, save] = await Promise.all([
    readInfo(server, 'persistence', 'replication', 'server'),
    redisNowMs({ client: server }),
    readSetting(server, 'appendfsync'),
    readSetting(server, 'save'),
  ])
  return describeDurability({
    aof: aofMode(info, fsync),
    aofBroken: info.text('aof_last_write_status') === 'err',
    lastSnapshotAgeMs: Math.max(0, nowMs - info.number('rdb_last_save_time') * 1000) || 0,
    snapshotFailed: info.text('rdb_last_bgsave_status') === 'err',
    writesSinceSnapshot: info.number('rdb_changes_since_last_save') || 0,
    savesByItself: save === undefined ? undefined : save !== '',
    neverSaved: nowMs - info.number('rdb_last_save_time') * 1000 >= info.number('uptime_in_seconds') * 1000 - 2000,
    replicas: info.number('connected_slaves') || 0,
    role: info.text('role') === 'slave' ? 'replica' : 'master',
  })
}

export interface DurabilityFacts {
  readonly aof: DurabilityReport['aof']
  readonly aofBroken: boolean
  readonly lastSnapshotAgeMs: number
  readonly snapshotFailed: boolean
  readonly writesSinceSnapshot: number
  /** Whether save points are configured; undefined where the server does not say. */
  readonly savesByItself: boolean | undefined
  /** `lastSnapshotAgeMs` is the age of the server's start, not of a snapshot that was made since. */
  readonly neverSaved: boolean
  readonly replicas: number
  readonly role: 'master' | 'replica'
}

/** The facts in words. */
export function describeDurability(facts: DurabilityFacts): DurabilityReport {
  const { aof, lastSnapshotAgeMs, writesSinceSnapshot, replicas } = facts
  const sentences = [aofSentence(facts), snapshotSentence(facts), replicaSentence(facts)].filter(
    sentence => sentence !== '',
  )
  return {
    summary: sentences.join(' '),
    lossWindowMs: lossWindowMs(facts),
    aof,
    lastSnapshotAgeMs,
    writesSinceSnapshot,
    replicas,
  }
}

function lossWindowMs({
  aof,
  aofBroken,
  lastSnapshotAgeMs,
  writesSinceSnapshot,
  neverSaved,
}: DurabilityFacts): number | undefined {
  if (aof === 'unknown' || aof === 'no' || aofBroken) return undefined
  if (aof === 'always') return 0
  if (aof === 'everysec') return everysecWindowMs
  if (writesSinceSnapshot === 0) return 0
  return neverSaved ? undefined : lastSnapshotAgeMs
}

function aofSentence({ aof, aofBroken }: DurabilityFacts): string {
  if (aofBroken) {
    return 'The append-only file could not be written the last time: Redis refuses writes, or loses them in a crash, until its disk has room and works again.'
  }
  switch (aof) {
    case 'always':
      return 'The append-only file is synced with every write: a crash of Redis or of its machine loses nothing that was acknowledged.'
    case 'everysec':
      return 'The append-only file is synced every second: a crash of Redis alone loses nothing that it wrote, one of its machine up to two seconds.'
    case 'no':
      return 'The append-only file is synced when the operating system likes to: a crash of Redis alone loses nothing that it wrote, one of its machine usually up to half a minute.'
    case 'unknown':
      return 'The append-only file is on; the server does not tell how often it is synced.'
    case 'off':
      return 'The append-only file is off.'
  }
}

function snapshotSentence(facts: DurabilityFacts): string {
  const { aof, snapshotFailed, writesSinceSnapshot, lastSnapshotAgeMs, neverSaved, savesByItself } = facts
  const failed = snapshotFailed ? ' The last attempt to make one failed: look into the log of Redis.' : ''
  if (aof !== 'off') return snapshotFailed ? 'The last snapshot failed: look into the log of Redis.' : ''
  const never = savesByItself === false ? ' and makes no snapshots by itself' : ''
  if (neverSaved) {
    return `Redis has made no snapshot since it started ${inWords(lastSnapshotAgeMs)} ago${never}: a crash loses all ${writesSinceSnapshot} writes since then.${failed} Turn the append-only file on (\`redis-cli config set appendonly yes\`, and in redis.conf), or make a snapshot now.`
  }
  return `The last snapshot is ${inWords(lastSnapshotAgeMs)} old${savesByItself === false ? ' and Redis makes none by itself' : ''}: a crash loses the ${writesSinceSnapshot} writes since then.${failed}`
}

function replicaSentence({ replicas, role }: DurabilityFacts): string {
  if (role === 'replica') return 'This server is a replica.'
  if (replicas === 0) return ''
  return `${replicas === 1 ? 'One replica follows' : `${replicas} replicas follow`} it, a moment behind: a failover may lose that moment.`
}

function aofMode(info: Info, fsync: string | undefined): DurabilityReport['aof'] {
  if (info.text('aof_enabled') !== '1') return 'off'
  return fsync === 'always' || fsync === 'everysec' || fsync === 'no' ? fsync : 'unknown'
}
