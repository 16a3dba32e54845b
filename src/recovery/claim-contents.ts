import { parseHeader } from '../protocol/chunk.ts'
import type { ChunkHeader } from '../protocol/chunk.ts'
import type { LaneStore } from '../store/lane-store.ts'

/** What a List of chunks holds of one job, oldest first. */
export interface JobShare {
  readonly job: string
  readonly headers: readonly ChunkHeader[]
}

/** Stands for the hash of a job whose record is gone: scripts drop its chunks before they would use a key with it. */
export const noHash = 'gone'

/**
 * Header lines by job. Lines that are none count as a share of the job '', since every `giveBack` sets the malformed
 * elements that it meets aside, whichever job it is for. Suspects come first: whether one was alone in its claim is
 * judged by what the claim holds at that moment, so nothing may be taken out before them.
 */
export function sharesOf(lines: readonly string[]): JobShare[] {
  const shares = new Map<string, ChunkHeader[]>()
  for (const line of lines) {
    const header = parseHeader(line)
    const job = header?.job ?? ''
    const headers = shares.get(job) ?? []
    if (header !== undefined) headers.push(header)
    shares.set(job, headers)
  }
  const suspicion = ({ headers }: JobShare) => Math.max(0, ...headers.map(({ deaths }) => deaths))
  return [...shares].map(([job, headers]) => ({ job, headers })).sort((a, b) => suspicion(b) - suspicion(a))
}

export interface Emptied {
  readonly returned: number
  readonly quarantined: number
}

/** A claim holds a few chunks; this many rounds of up to 64 a job bound the work on one that somebody has stuffed. */
const mostRounds = 16

/**
 * Takes everything out of a claim by `giveBack`, job by job, until nothing is left that it can take. Stops early when
 * `giveBack` says 'alive': the worker is not dead any more.
 */
export async function emptyClaim(
  store: LaneStore,
  claim: string,
  giveBack: (
    share: JobShare,
    hash: string,
  ) => Promise<{ readonly word: 'returned' | 'alive'; readonly returned: number; readonly quarantined: number }>,
): Promise<Emptied> {
  let returned = 0
  let quarantined = 0
  let before = Infinity
  for (let round = 0; round < mostRounds; round++) {
    const lines = await store.claims.peekClaim(claim)
    if (lines.length === 0 || (lines.length >= before && lines.length < 256)) break
    before = lines.length
    for (const share of sharesOf(lines)) {
      const hash = (share.job === '' ? undefined : await store.upkeep.hashOf(share.job)) ?? noHash
      const reply = await giveBack(share, hash)
      returned += reply.returned
      quarantined += reply.quarantined
      if (reply.word === 'alive') return { returned, quarantined }
    }
  }
  return { returned, quarantined }
}
