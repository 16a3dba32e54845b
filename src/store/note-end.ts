import { setTimeout as sleep } from 'node:timers/promises'
import { encodeProcessEnd } from '../protocol/evidence.ts'
import type { ProcessEnd } from '../protocol/evidence.ts'
import { decodeWorkerInfo } from '../protocol/records.ts'
import { jitteredBackoffMs } from '../runtime/backoff.ts'
import { workerRecord } from './inspect/census.ts'
import type { LaneStore } from './lane-store.ts'
import type { Lanes } from './lanes.ts'

const attempts = 6
const mostWorkers = 10_000

/**
 * Tells all lanes how a worker's process has ended. The worker may have another id on each, so it is found by what its
 * record says of its launch; host and pid would not do, since containers may share both. Never rejects: what nobody is
 * told is only missing from the evidence, and the lease lapses by itself.
 */
export async function noteProcessEnd(lanes: Lanes, launch: string, end: ProcessEnd): Promise<void> {
  const note = encodeProcessEnd(end)
  await Promise.all(lanes.all.map(store => noteOn(store, launch, note)))
}

async function noteOn(store: LaneStore, launch: string, note: string): Promise<void> {
  for (let attempt = 1; attempt <= attempts; attempt++) {
    try {
      for (const worker of await launchedAs(store, launch)) await store.members.noteEnd(worker, note)
      return
    } catch {
      await sleep(jitteredBackoffMs(attempt, { firstMs: 100, mostMs: 1000 }))
    }
  }
}

/** The workers of that launch: one, or several where Redis lost one and it went on under another id. */
async function launchedAs(store: LaneStore, launch: string): Promise<string[]> {
  const { workers, dead } = store.keys
  const sets = await Promise.all(
    [workers, dead].map(key =>
      store.read([{ key, kind: 'zset' }], () => store.client.zrange(key, 0, String(mostWorkers - 1))),
    ),
  )
  const ids = sets.flat()
  const records = await Promise.all(ids.map(id => workerRecord(store, id)))
  return ids.filter((_, index) => launchOf(records[index]?.info ?? '') === launch)
}

function launchOf(info: string): string {
  try {
    return decodeWorkerInfo(info).launch
  } catch {
    return ''
  }
}
