import { decodeQuarantined } from '../protocol/evidence.ts'
import type { QuarantinedTask } from '../protocol/evidence.ts'
import type { LaneStore } from '../store/lane-store.ts'

const page = 100

/** Quarantined tasks, of one job or of all, the newest first. At most about `most` are read. */
export async function readQuarantine(
  { client, keys }: LaneStore,
  most: number,
  job?: string,
): Promise<QuarantinedTask[]> {
  const tasks: QuarantinedTask[] = []
  let cursor = '0'
  do {
    const match = job === undefined ? '*' : `${job}:*`
    const [next, flat] = await client.hscanBuffer(keys.quarantine, cursor, 'MATCH', match, 'COUNT', page)
    cursor = String(next)
    for (let at = 0; at + 1 < flat.length; at += 2)
      tasks.push(decodeQuarantined(String(flat[at]), flat[at + 1] ?? Buffer.alloc(0)))
  } while (cursor !== '0' && tasks.length < most)
  return tasks.filter(task => job === undefined || task.job === job).sort((a, b) => b.at - a.at)
}
