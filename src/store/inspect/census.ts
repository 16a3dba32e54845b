import { codeKeys, workerKeys } from '../../protocol/keys.ts'
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
export async function jobsByDueTime({ client, keys }: LaneStore, most: number): Promise<Timed[]> {
  return timed(await client.zrange(keys.due, 0, String(most - 1), 'WITHSCORES'))
}

/** Jobs whose driver's lease has lapsed. */
export async function undrivenJobs(lane: LaneStore, most: number): Promise<string[]> {
  const nowMs = await redisNowMs(lane)
  return lane.client.zrange(lane.keys.driven, '-inf', String(nowMs), 'BYSCORE', 'LIMIT', 0, most)
}

/** Jobs by age, oldest first, from that position on. */
export function jobsByAge({ client, keys }: LaneStore, from: number, most: number): Promise<string[]> {
  return client.zrange(keys.jobs, from, String(from + most - 1))
}

/** Jobs that stand in the queue for threads with this code. */
export function readyJobs({ client, lane }: LaneStore, hash: string, most: number): Promise<string[]> {
  return client.zrange(codeKeys(lane, hash).ready, 0, String(most - 1))
}

/** Claims that have ended within the last half hour, from that position on. */
export function retiredClaims({ client, keys }: LaneStore, from: number, most: number): Promise<string[]> {
  return client.zrange(keys.retired, from, String(from + most - 1))
}

/** What a worker said of itself, as JSON; null when Redis does not know it. */
export function workerInfo({ client, lane }: LaneStore, worker: string): Promise<string | null> {
  return client.hget(workerKeys(lane, worker).worker, 'info')
}

/** How many threads block on the stage of this code. */
export async function waitingThreads(lane: LaneStore, hash: string): Promise<number> {
  return lane.client.zcount(codeKeys(lane.lane, hash).waiting, await redisNowMs(lane), '+inf')
}

/**
 * Deletes entries of the quarantine beyond the newest `keep`, at most about a thousand a call. Resolves with how many.
 */
export async function pruneQuarantine({ client, keys }: LaneStore, keep: number): Promise<number> {
  const excess = (await client.hlen(keys.quarantine)) - keep
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
