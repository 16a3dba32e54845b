import { workerKeys } from '../../protocol/keys.ts'
import { decodeWorkerInfo } from '../../protocol/records.ts'
import type { LaneStore } from '../lane-store.ts'
import { redisNowMs, timed } from './census.ts'
import type { WorkerView } from './reports.ts'

/** More workers than this are not listed. */
const mostWorkers = 10_000

/** The workers of a lane that are not known to be dead, those heard of last in front. */
export async function readWorkers(lane: LaneStore): Promise<WorkerView[]> {
  const key = lane.keys.workers
  const leases = timed(
    await lane.read([{ key, kind: 'zset' }], () => lane.client.zrange(key, 0, String(mostWorkers - 1), 'WITHSCORES')),
  )
  const [nowMs, records] = await Promise.all([
    redisNowMs(lane),
    Promise.all(leases.map(({ name }) => record(lane, name))),
  ])
  const workers: WorkerView[] = []
  for (const [index, { name, atMs }] of leases.entries()) {
    const [info, leaseMs] = records[index] ?? []
    if (info == null) continue
    const view = viewOf(name, info)
    // The lease ends one lease after the last heartbeat.
    if (view !== undefined) workers.push({ ...view, lastSeenMs: Math.max(0, nowMs - atMs + Number(leaseMs ?? 0)) })
  }
  return workers.sort((a, b) => a.lastSeenMs - b.lastSeenMs)
}

function record(lane: LaneStore, worker: string): Promise<(string | null)[]> {
  const key = workerKeys(lane.lane, worker).worker
  return lane.read([{ key, kind: 'hash' }], () => lane.client.hmget(key, 'info', 'leaseMs'))
}

/** Undefined for a record that is none of ours: it is left out rather than failing the whole list. */
function viewOf(id: string, json: string): Omit<WorkerView, 'lastSeenMs'> | undefined {
  try {
    const { host, pid, threads, tasks, hash } = decodeWorkerInfo(json)
    return { id, host, pid, threads, tasks, hash }
  } catch {
    return undefined
  }
}
