import { parseHeader } from '../protocol/chunk.ts'
import type { ChunkHeader } from '../protocol/chunk.ts'
import { noHash } from '../recovery/claim-contents.ts'
import type { LaneStore } from '../store/lane-store.ts'

/** What of a batch, oldest chunk first, stays with its thread that took the first `taken` tasks of it. */
export interface Tail {
  readonly kept: readonly ChunkHeader[]
  /** The chunk in which the boundary lies, and how many of its tasks are kept. */
  readonly split: { readonly header: ChunkHeader; readonly keep: number } | undefined
  /** Jobs that have whole chunks beyond the boundary. */
  readonly jobs: readonly string[]
}

export function tailOf(lines: readonly string[], taken: number): Tail {
  const kept: ChunkHeader[] = []
  const jobs = new Set<string>()
  let split: Tail['split']
  let offset = 0
  for (const line of lines) {
    const header = parseHeader(line)
    if (header === undefined) continue
    const keep = taken - offset
    offset += header.count
    if (keep <= 0) jobs.add(header.job)
    else kept.push(header)
    if (keep > 0 && keep < header.count) split = { header, keep }
  }
  return { kept, split, jobs: [...jobs] }
}

/** Returns to the List what lies beyond the first `taken` tasks of the batch in this claim, which have run for `ranMs`. */
export async function handBackTail(
  store: LaneStore,
  hash: string,
  claim: string,
  { taken, ranMs }: { readonly taken: number; readonly ranMs: number },
): Promise<void> {
  const { kept, split, jobs } = tailOf(await store.claims.peekClaim(claim), taken)
  // The tail of the split chunk is to stand before the chunks after it, so it is pushed to the front last.
  for (const job of jobs) await store.claims.giveBack(job, (await store.upkeep.hashOf(job)) ?? noHash, claim, kept)
  if (split === undefined) return
  const { job, incarnation, first, attempt } = split.header
  const paceNs = (ranMs * 1e6) / taken
  await store.claims.split({ job, incarnation, hash }, claim, { first, attempt, keep: split.keep, paceNs })
}
