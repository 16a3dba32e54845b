import { parseHeader } from '../../protocol/chunk.ts'
import { workerKeys } from '../../protocol/keys.ts'
import type { PartName } from '../lane-access.ts'
import type { LaneStore } from '../lane-store.ts'

/** A half-open stretch of tasks, `[from, to)`. */
export type Located = readonly [from: number, to: number]

const page = 256
/** A part with more chunks than this is not looked through. */
const mostPages = 4096
const mostWorkers = 10_000

/**
 * Where the unsettled tasks of a part are: waiting, delayed, on the stage, or in a claim of a worker that Redis lists.
 * Read in the order in which tasks move on, so that one that moves meanwhile is seen twice rather than never; one that is
 * given back meanwhile may be missed, so whoever finds one missing looks again. Undefined when there are too many chunks.
 *
 * It costs a call for each claim of the fleet: for jobs that have stood still for long.
 */
export async function locateTasks(
  lane: LaneStore,
  { job, incarnation, hash }: PartName & { readonly hash: string },
): Promise<Located[] | undefined> {
  const found: Located[] = []
  const add = (lines: readonly string[]) => {
    for (const line of lines) {
      const header = parseHeader(line)
      if (header?.job === job && header.incarnation === incarnation)
        found.push([header.first, header.first + header.count])
    }
  }
  for (let from = 0; ; from += page) {
    if (from >= page * mostPages) return undefined
    const lines = await lane.upkeep.peekChunks(job, from, page)
    add(lines)
    if (lines.length === 0) break
  }
  add(await lane.claims.peekStage(hash))
  const workers = (await Promise.all([lane.keys.workers, lane.keys.dead].map(key => namesOf(lane, key)))).flat()
  const claims = (await Promise.all(workers.map(worker => claimsOf(lane, worker)))).flat()
  for (const lines of await Promise.all(claims.map(claim => lane.claims.peekClaim(claim)))) add(lines)
  return found
}

function namesOf(lane: LaneStore, key: string): Promise<string[]> {
  return lane.read([{ key, kind: 'zset' }], () => lane.client.zrange(key, 0, String(mostWorkers - 1)))
}

function claimsOf(lane: LaneStore, worker: string): Promise<string[]> {
  const key = workerKeys(lane.lane, worker).claims
  return lane.read([{ key, kind: 'set' }], () => lane.client.smembers(key))
}
