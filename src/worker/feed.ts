import { setTimeout as sleep } from 'node:timers/promises'
import { MalformedDataError } from '../errors.ts'
import { decodeChunk } from '../protocol/chunk.ts'
import type { Chunk } from '../protocol/chunk.ts'
import type { LaneStore } from '../store/lane-store.ts'
import { outcomeUnknown } from '../store/reply-error.ts'
import { traceClaim } from '../store/trace.ts'
import { maxWindow } from './board.ts'
import type { Board, Slot } from './board.ts'
import type { ClaimId, ClaimIds } from './claim-ids.ts'
import type { SuspectGate } from './suspect-gate.ts'

/** What one claim holds: chunks of one job, run and committed together. */
export interface Batch {
  readonly claim: ClaimId
  readonly slot: Slot
  readonly chunks: readonly Chunk[]
  readonly tasks: number
  /** A chunk of it was in a process that died: it runs while its thread holds nothing else. */
  readonly suspect: boolean
}

export interface FeedOptions {
  readonly hash: string
  readonly homeLane: number
  readonly thread: number
  readonly suspects: SuspectGate
  readonly board: Board
  readonly ids: ClaimIds
  readonly commands: readonly LaneStore[]
  readonly blocking: LaneStore
  readonly warn: (line: string) => void
}

/** How long a thread blocks for a chunk before it looks around. Far below a lease; see the reaper's `bury`. */
export const blockMs = 2000

const mostChunks = 64
const mostBytes = 8 * 1024 * 1024
const mostJobs = 16
const suspectPauseMs = 200

/** Where a thread gets its batches from. One call at a time. */
export class Feed {
  readonly #options: FeedOptions
  #jobs: readonly (readonly string[])[]
  #blocked = false
  /** The number of the blocking connection, asked for before it blocks. */
  #blockingId: Promise<string | undefined> | undefined
  #stopped = false

  constructor(options: FeedOptions) {
    this.#options = options
    this.#jobs = options.commands.map(() => [])
  }

  /** Claims what is there now, on the home lane first. `holding`: how many chunks the thread holds already. */
  async claim(slot: Slot, holding: number): Promise<Batch | undefined> {
    const { commands, homeLane } = this.#options
    for (let i = 0; i < commands.length && !this.#stopped; i++) {
      const batch = await this.#guarded(() => this.#claim(slot, (homeLane + i) % commands.length, holding, 0))
      if (batch !== undefined) return batch
    }
    return undefined
  }

  /** Claims, and waits up to `blockMs` for something to claim. For a thread that holds nothing. */
  async claimWaiting(slot: Slot): Promise<Batch | undefined> {
    const { commands, homeLane } = this.#options
    for (let i = 1; i < commands.length && !this.#stopped; i++) {
      const batch = await this.#guarded(() => this.#claim(slot, (homeLane + i) % commands.length, 0, 0))
      if (batch !== undefined) return batch
    }
    if (this.#stopped) return undefined
    return this.#guarded(() => this.#claim(slot, homeLane, 0, blockMs + 1000))
  }

  /** Ends a wait, and lets no other begin. */
  async stop(): Promise<void> {
    this.#stopped = true
    const { commands, homeLane } = this.#options
    // Ends the BLMOVE with an answer, so that it is known whether it has moved a chunk. It may not have begun yet, so it
    // is asked again. Where this can't be done (Cluster, an ACL) the wait ends by itself.
    for (let asked = 0; this.#blocked && asked < 20; asked++) {
      const id = await this.#blockingId
      if (id === undefined) return
      await commands[homeLane]!.client.call('client', ['unblock', id]).catch(() => undefined)
      await sleep(50)
    }
  }

  /** The blocking connection is another one now. */
  renew(): void {
    this.#blockingId = undefined
  }

  async #guarded(claim: () => Promise<Batch | undefined>): Promise<Batch | undefined> {
    try {
      return await claim()
    } catch (error) {
      // A broken connection is mended by the client, and its commands wait until it is; Redis may refuse for a while.
      if (!outcomeUnknown(error)) this.#options.warn(`claiming failed and is tried again: ${(error as Error).message}`)
      await sleep(100 + Math.random() * 200)
      return undefined
    }
  }

  async #claim(slot: Slot, lane: number, holding: number, waitMs: number): Promise<Batch | undefined> {
    const { ids, board, suspects, thread } = this.#options
    const claim = await ids.take(lane)
    if (claim === undefined) return undefined
    board.open(slot, claim.id)
    let elements: readonly Buffer[] | 'lost'
    try {
      elements = await this.#ask(claim, holding, waitMs)
      if (elements !== 'lost' && elements.length === 0 && waitMs > 0 && !this.#stopped)
        elements = await this.#block(claim)
    } catch (error) {
      board.close(slot)
      ids.abandon(claim, waitMs > 0)
      throw error
    }
    if (elements === 'lost' || elements.length === 0) {
      board.close(slot)
      if (elements === 'lost') ids.abandon(claim, false)
      else ids.release(claim)
      return undefined
    }
    const batch = this.#accept(claim, slot, elements)
    if (batch === undefined || !batch.suspect || suspects.enter(thread)) return batch
    // It came from the stage, which nobody asks. Handed back, it may find another process, or come again.
    board.close(slot)
    ids.abandon(claim, false)
    await sleep(suspectPauseMs)
    return undefined
  }

  async #ask(claim: ClaimId, holding: number, waitMs: number): Promise<readonly Buffer[] | 'lost'> {
    const { commands, hash, ids, suspects, thread } = this.#options
    const known = [...this.#jobs]
    for (let asked = 0; asked < 4; asked++) {
      const jobs = known[claim.lane]!
      const { id, worker } = claim
      const reply = await commands[claim.lane]!.claim({
        claim: id,
        worker,
        hash,
        jobs,
        waitMs,
        mostChunks,
        mostBytes,
        // A thread that holds something is given no suspect, nor is one of a process where another runs one.
        holding: Math.max(holding, suspects.isTakenFor(thread) ? 1 : 0),
      })
      if (reply.word === 'unenrolled') {
        ids.lost(worker)
        return 'lost'
      }
      known[claim.lane] = reply.jobs.slice(0, mostJobs)
      this.#jobs = known
      if (reply.word !== 'undeclared') return reply.elements
    }
    return []
  }

  async #block(claim: ClaimId): Promise<readonly Buffer[]> {
    const { blocking, hash } = this.#options
    const { client } = blocking
    if (!('nodes' in client)) this.#blockingId ??= client.call('client', ['id']).then(String, () => undefined)
    this.#blocked = true
    try {
      const element = await blocking.blockingClaim(claim.id, hash, blockMs)
      return element === null ? [] : [element]
    } finally {
      this.#blocked = false
    }
  }

  #accept(claim: ClaimId, slot: Slot, elements: readonly Buffer[]): Batch | undefined {
    const { board, ids } = this.#options
    const chunks = decodeAll(elements)
    const tasks = chunks?.reduce((sum, { header }) => sum + header.count, 0) ?? 0
    // What is none of ours, too much, or revoked by the main thread meanwhile, the main thread hands back.
    if (chunks === undefined || tasks > maxWindow || !board.size(slot, tasks)) {
      board.close(slot)
      ids.abandon(claim, false)
      return undefined
    }
    traceClaim(claim.id, () => chunks.map(({ header }) => header))
    return { claim, slot, chunks, tasks, suspect: chunks.some(({ header }) => header.deaths > 0) }
  }
}

function decodeAll(elements: readonly Buffer[]): readonly Chunk[] | undefined {
  try {
    return elements.map(decodeChunk)
  } catch (error) {
    if (error instanceof MalformedDataError) return undefined
    throw error
  }
}
