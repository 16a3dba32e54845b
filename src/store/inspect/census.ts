import { claimKey, codeKeys, workerKeys } from '../../protocol/keys.ts'
import type { LaneStore } from '../lane-store.ts'

/** What recovery and reports read of a lane as a whole. Every read is bounded; nothing here writes but the pruning. */

/** Redis's time, in ms since the epoch: the only clock that leases and delays are measured by. */
export async function redisNowMs({ client }: Pick<LaneStore, 'client'>): Promise<number> {
  const [seconds, microseconds] = await client.time()
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000)
}

/** A member of a sorted set that is scored by a time. */
export interface Timed {
  readonly name: string
  readonly atMs: number
}

/** Jobs with delayed retries, those that are due first in front. */
export async function jobsByDueTime(lane: LaneStore, most: number): Promise<Timed[]> {
  const { due } = lane.keys
  const flat = await lane.read([{ key: due, kind: 'zset' }], () =>
    lane.client.zrangeBuffer(due, 0, String(most - 1), 'WITHSCORES'),
  )
  const members = flat.filter((_, i) => i % 2 === 0)
  const scores = flat.filter((_, i) => i % 2 === 1)
  const odd = await namesOnly(lane, due, members)
  return members.flatMap((name, i) => (odd.has(name) ? [] : [{ name: String(name), atMs: Number(scores[i]) }]))
}

/** Jobs whose driver's lease has lapsed. */
export async function undrivenJobs(lane: LaneStore, most: number): Promise<string[]> {
  const nowMs = await redisNowMs(lane)
  return readNames(lane, lane.keys.driven, key =>
    lane.client.zrangeBuffer(key, '-inf', String(nowMs), 'BYSCORE', 'LIMIT', 0, most),
  )
}

/** Jobs by age, oldest first, from that position on. */
export function jobsByAge(lane: LaneStore, from: number, most: number): Promise<string[]> {
  return readPage(lane, lane.keys.jobs, from, most)
}

/** Jobs that stand in the queue for threads with this code. */
export function readyJobs(lane: LaneStore, hash: string, most: number): Promise<string[]> {
  return readPage(lane, codeKeys(lane.lane, hash).ready, 0, most)
}

/** Claims that have ended within the last half hour, from that position on. */
export function retiredClaims(lane: LaneStore, from: number, most: number): Promise<string[]> {
  return readPage(lane, lane.keys.retired, from, most)
}

/** What a worker's record has, as JSON: what it said of itself, and with its last heartbeat, and how its process ended. */
export interface WorkerRecord {
  readonly info: string | null
  readonly stats: string | null
  readonly end: string | null
}

/** All null when Redis does not know the worker. */
export async function workerRecord(lane: LaneStore, worker: string): Promise<WorkerRecord> {
  const key = workerKeys(lane.lane, worker).worker
  const [info = null, stats = null, end = null] = await lane.read([{ key, kind: 'hash' }], () =>
    lane.client.hmget(key, 'info', 'stats', 'end'),
  )
  return { info, stats, end }
}

/**
 * How many threads block on the stage of this code. One that was given a chunk is still noted as waiting until it asks
 * again; its claim holds something.
 */
export async function waitingThreads(lane: LaneStore, hash: string): Promise<number> {
  const key = codeKeys(lane.lane, hash).waiting
  const nowMs = await redisNowMs(lane)
  const claims = await readNames(lane, key, () => lane.client.zrangebyscoreBuffer(key, nowMs, '+inf'))
  if (claims.length === 0) return 0
  return claims.length - (await lane.client.exists(claims.map(claim => claimKey(lane.lane, claim))))
}

function readPage(lane: LaneStore, key: string, from: number, most: number): Promise<string[]> {
  return readNames(lane, key, () => lane.client.zrangeBuffer(key, from, String(from + most - 1)))
}

/** Members of a sorted set that are names. Others would come again with every look, and nothing could be done with them. */
async function readNames(lane: LaneStore, key: string, read: (key: string) => Promise<Buffer[]>): Promise<string[]> {
  const members = await lane.read([{ key, kind: 'zset' }], () => read(key))
  const odd = await namesOnly(lane, key, members)
  return members.filter(member => !odd.has(member)).map(String)
}

/** Takes members that can't be names out of the set, and gives them. */
async function namesOnly(lane: LaneStore, key: string, members: readonly Buffer[]): Promise<Set<Buffer>> {
  const odd = members.filter(member => member.length > 200 || !/^[\w.:-]+$/.test(member.toString('latin1')))
  if (odd.length > 0) await lane.expel(key, odd)
  return new Set(odd)
}

/**
 * Deletes entries of the quarantine beyond the newest `keep`, at most about a thousand a call. Resolves with how many.
 */
export async function pruneQuarantine(lane: LaneStore, keep: number): Promise<number> {
  const { client, keys } = lane
  const excess = (await lane.read([{ key: keys.quarantine, kind: 'hash' }], () => client.hlen(keys.quarantine))) - keep
  if (excess <= 0) return 0
  const found: Timed[] = []
  let cursor = '0'
  do {
    const [next, page] = await client.hscan(keys.quarantine, cursor, 'COUNT', 100)
    cursor = next
    for (let i = 0; i + 1 < page.length; i += 2)
      found.push({ name: page[i] ?? '', atMs: quarantinedAtMs(page[i + 1] ?? '') })
  } while (cursor !== '0' && found.length < keep + 1000)
  const oldest = found.sort((a, b) => a.atMs - b.atMs).slice(0, excess)
  return oldest.length === 0 ? 0 : client.hdel(keys.quarantine, ...oldest.map(({ name }) => name))
}

/** When a task was quarantined; 0, which is pruned first, where its evidence does not say. */
function quarantinedAtMs(entry: string): number {
  const at = /^\{"at":(\d{1,15}),/.exec(entry)?.[1]
  return Number(at ?? 0)
}

export function timed(flat: readonly string[]): Timed[] {
  const members: Timed[] = []
  for (let i = 0; i + 1 < flat.length; i += 2) members.push({ name: flat[i] ?? '', atMs: Number(flat[i + 1]) })
  return members
}
