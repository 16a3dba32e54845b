import { MalformedDataError } from '../errors.ts'
import { decodeChunk } from '../protocol/chunk.ts'
import type { Chunk } from '../protocol/chunk.ts'
import type { ClaimStore } from '../store/claim-store.ts'
import type { Slot } from './board.ts'
import type { ClaimId } from './claim-ids.ts'

/** A chunk that a thread was given. */
export interface ClaimedChunk extends Chunk {
  /** Where its payload is held beside the List: that payload, on its way since the claim. Null: it is not there any more. */
  readonly held?: Promise<Buffer | null>
}

/** What one claim holds: chunks of one job, run and committed together. */
export interface Batch {
  readonly claim: ClaimId
  readonly slot: Slot
  readonly chunks: readonly ClaimedChunk[]
  readonly tasks: number
  /** A chunk of it was in a process that died: it runs while its thread holds nothing else. */
  readonly suspect: boolean
  /** It came while the thread waited: a moment before, there was nothing else to claim. */
  readonly awaited: boolean
}

/** The chunks of a claim, with what is held of them on its way; undefined when one is none of ours. */
export function claimedChunks(elements: readonly Buffer[], claims: ClaimStore): readonly ClaimedChunk[] | undefined {
  return decodeAll(elements)?.map(chunk => {
    if (chunk.header.kind !== 'held') return chunk
    const held = claims.readPayload(chunk.header)
    // Whoever runs the chunk meets the error; it may be handed back before.
    held.catch(() => undefined)
    return { ...chunk, held }
  })
}

function decodeAll(elements: readonly Buffer[]): readonly Chunk[] | undefined {
  try {
    return elements.map(decodeChunk)
  } catch (error) {
    if (error instanceof MalformedDataError) return undefined
    throw error
  }
}
