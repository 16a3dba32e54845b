import { setTimeout as sleep } from 'node:timers/promises'
import { MalformedDataError } from '../errors.ts'
import { decodeChunk } from '../protocol/chunk.ts'
import type { Chunk } from '../protocol/chunk.ts'
import { homeLane } from '../protocol/placement.ts'
import { isReady } from '../store/client.ts'
import type { Lanes } from '../store/lanes.ts'
import { isTransient, outcomeUnknown } from '../store/reply-error.ts'
import { traceClaim } from '../store/trace.ts'
import { maxWindow, monotonicMs } from './board.ts'
import type { Board, Slot } from './board.ts'
import type { ClaimId, ClaimIds } from './claim-ids.ts'
import type { SuspectGate } from './suspect-gate.ts'

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

/** What a thread has in its hands when it claims. */
interface Hands {
  readonly holding: number
  readonly defers: boolean
}

const empty: Hands = { holding: 0, defers: false }

export interface FeedOptions {
  readonly hash: string
  /** The thread's number. */
  readonly thread: number
  readonly suspects: SuspectGate
  readonly board: Board
  readonly ids: ClaimIds
  readonly lanes: Lanes
  /** The same lanes over connections that block. */
  readonly waits: Lanes
  /** How long one wait blocks; see `blockMs`. */
  readonly blockMs: number
  /** A thread that waited found work on a lane that is not its own. */
  readonly onFound: (lane: number) => void
  readonly warn: (line: string) => void
}

/**
 * How long a thread blocks for a chunk at a time, by its worker's lease: a BLMOVE of a process that froze must have ended
 * when its worker is buried; see the reaper's `bury`.
 */
export function blockMs(leaseMs: number): number {
  return Math.min(mostBlockMs, (leaseMs * 2) / 3)
}

export const mostBlockMs = 4000
/** So often it blocks again before it looks for itself. What it is not told of meanwhile, the lookout sees. */
const blocksPerLook = 6
/** A block that took so much longer than it should was one of a process that stood still, and may be dead to others. */
const frozenMs = 1000
/** A thread may begin to block again so long after it was noted, and Redis counts it until it blocks no more all the same. */
const lateMs = 500

const mostChunks = 64
const mostBytes = 8 * 1024 * 1024
const mostJobs = 16
/** How soon a thread looks again when no lane can be reached, while others could be reached first. */
const awayMs = 50
const suspectPauseMs = 200

/**
 * Where a thread gets its batches from. One call at a time. It blocks on one lane and takes from the others what is
 * there: that there is something new it hears on the control channel (`wake`), or finds at its next look.
 */
export class Feed {
  readonly #options: FeedOptions
  readonly #jobs = new Map<number, readonly string[]>()
  /** The numbers of the blocking connections by lane, asked for before they block. */
  readonly #connections = new Map<number, Promise<string | undefined>>()
  /** The lane that it blocks on, or is about to. */
  #waitLane: number | undefined
  #blocked: Promise<Buffer | null> | undefined
  /** Something has changed since it began to look: it may not begin to wait, or go on to. */
  #news = false
  /** With which claim Redis counts this thread among those that wait, and until when it may begin to block again. */
  #noted: { readonly claim: string; readonly untilMs: number } | undefined
  #stopped = false

  constructor(options: FeedOptions) {
    this.#options = options
    // Connected to ahead of the first wait.
    options.waits.of(homeLane(options.thread, options.lanes.numbers))
  }

  /**
   * Claims what is there now, on the home lane first. `holding`: how many chunks the thread holds already. `defers`: it will
   * soon hold nothing, and comes back then for a chunk that has to run alone.
   */
  async claim(slot: Slot, holding: number, defers = false): Promise<Batch | undefined> {
    for (const lane of this.#lanesAtHand()) {
      if (this.#stopped) break
      const batch = await this.#guarded(() => this.#claim(slot, lane, { holding, defers }, 0))
      if (batch !== undefined) return batch
    }
    return undefined
  }

  /**
   * Claims, and waits a few times `blockMs` for something to claim. For a thread that holds nothing. `inLine`: whether anything
   * may have waited when its last commit was made. What came since stands on the stage, if this thread is still noted.
   */
  async claimWaiting(slot: Slot, inLine: Promise<boolean>): Promise<Batch | undefined> {
    this.#news = false
    const [waitLane, ...others] = this.#lanesAtHand()
    this.#waitLane = waitLane
    const waitMs = this.#options.blockMs * blocksPerLook + 2 * lateMs
    const noted = this.#noted
    this.#noted = undefined
    if (waitLane !== undefined && others.length === 0 && noted !== undefined && noted.untilMs > performance.now()) {
      if (!(await inLine) && !this.#stopped) {
        this.#noted = noted
        return this.#guarded(() => this.#claim(slot, waitLane, empty, waitMs, noted))
      }
    }
    for (const lane of others) {
      if (this.#stopped) break
      const batch = await this.#guarded(() => this.#claim(slot, lane, empty, 0))
      if (batch === undefined) continue
      this.#options.onFound(lane)
      return batch
    }
    if (this.#stopped) return undefined
    if (waitLane !== undefined) return this.#guarded(() => this.#claim(slot, waitLane, empty, waitMs))
    await sleep(awayMs)
    return undefined
  }

  /** There is work on a lane: a thread that blocks on another one, or is about to, looks there first. */
  wake(lane: number): void {
    if (lane !== this.#waitLane) this.look()
  }

  /** What this thread waits for, or under which name, may not be so any more: it looks for itself. */
  look(): void {
    this.#news = true
    this.#unblock().catch(() => undefined)
  }

  /** Ends a wait, and lets no other begin. */
  stop(): Promise<void> {
    this.#stopped = true
    return this.#unblock()
  }

  /** A connection of a lane broke: the blocking one has another number now, and a claim of the former is not waited on again. */
  renew(lane: number): void {
    this.#connections.delete(lane)
    this.look()
  }

  /**
   * Ends the BLMOVE with an answer, so that it is known whether it has moved a chunk. It may not have begun yet, so it is
   * asked again. Where this can't be done (an ACL) the wait ends by itself.
   */
  async #unblock(): Promise<void> {
    const blocked = this.#blocked
    const lane = this.#waitLane
    if (blocked === undefined || lane === undefined) return
    for (let asked = 0; this.#blocked === blocked && asked < 20; asked++) {
      const id = await this.#connections.get(lane)
      if (id === undefined || this.#blocked !== blocked) return
      await this.#options.lanes
        .of(lane)
        .client.call('client', ['unblock', id])
        .catch(() => undefined)
      await sleep(Math.min(50, 5 * 2 ** asked))
    }
  }

  /** The lanes that can be claimed from at the moment, the home lane first. A queue's only lane is waited for. */
  #lanesAtHand(): readonly number[] {
    const { lanes, ids, thread } = this.#options
    const { numbers } = lanes
    if (numbers.length === 1) return numbers
    const home = numbers.indexOf(homeLane(thread, numbers))
    return [...numbers.slice(home), ...numbers.slice(0, home)].filter(
      lane => isReady(lanes.of(lane).client) && ids.workerOn(lane) !== undefined,
    )
  }

  async #guarded(claim: () => Promise<Batch | undefined>): Promise<Batch | undefined> {
    try {
      return await claim()
    } catch (error) {
      // A broken connection is mended by the client, and its commands wait until it is; Redis may refuse for a while.
      if (!outcomeUnknown(error) && !isTransient(error))
        this.#options.warn(`claiming failed and is tried again: ${(error as Error).message}`)
      await sleep(100 + Math.random() * 200)
      return undefined
    }
  }

  async #claim(
    slot: Slot,
    lane: number,
    hands: Hands,
    waitMs: number,
    noted?: { readonly claim: string },
  ): Promise<Batch | undefined> {
    const { ids, board, suspects, thread } = this.#options
    const claim = await ids.take(lane)
    if (claim === undefined) return undefined
    board.open(slot, claim.id)
    let elements: readonly Buffer[] | 'lost' = []
    const isNoted = noted?.claim === claim.id
    let awaited = isNoted && !this.#stopped
    try {
      if (!isNoted) {
        const askedMs = performance.now()
        elements = await this.#ask(claim, hands, waitMs)
        awaited = elements !== 'lost' && elements.length === 0 && waitMs > 0
        if (awaited) this.#noted = { claim: claim.id, untilMs: askedMs + lateMs }
      }
      if (awaited) elements = await this.#wait(claim)
      if (elements.length === 0) this.#noted = undefined
    } catch (error) {
      board.close(slot)
      this.#noted = undefined
      // A BLMOVE that was refused has moved nothing; a script may have come half its way.
      if (awaited && !outcomeUnknown(error)) ids.release(claim)
      else ids.abandon(claim, waitMs > 0)
      throw error
    }
    if (elements === 'lost' || elements.length === 0) {
      board.close(slot)
      if (elements === 'lost') ids.abandon(claim, false)
      else ids.release(claim)
      return undefined
    }
    const batch = this.#accept(claim, slot, elements, awaited)
    if (batch === undefined || !batch.suspect || suspects.enter(thread)) return batch
    // It came from the stage, which nobody asks. Handed back, it may find another process, or come again.
    board.close(slot)
    ids.abandon(claim, false)
    await sleep(suspectPauseMs)
    return undefined
  }

  async #ask(claim: ClaimId, { holding, defers }: Hands, waitMs: number): Promise<readonly Buffer[] | 'lost'> {
    const { lanes, hash, ids, suspects, thread } = this.#options
    const { id, worker, lane } = claim
    for (let asked = 0; asked < 4; asked++) {
      const jobs = this.#jobs.get(lane) ?? []
      const isBarred = suspects.isTakenFor(thread)
      const reply = await lanes.of(lane).claims.claim({
        claim: id,
        worker,
        hash,
        jobs,
        waitMs,
        mostChunks,
        mostBytes,
        // A thread that holds something is given no suspect, nor is one of a process where another runs one.
        holding: Math.max(holding, isBarred ? 1 : 0),
        defers: defers && !isBarred,
      })
      if (reply.word === 'unenrolled') {
        ids.lost(worker, lane)
        return 'lost'
      }
      this.#jobs.set(lane, reply.jobs.slice(0, mostJobs))
      if (reply.word !== 'undeclared') return reply.elements
    }
    return []
  }

  async #wait(claim: ClaimId): Promise<readonly Buffer[]> {
    for (let blocks = 0; blocks < blocksPerLook && !this.#stopped && !this.#news; blocks++) {
      const startedMs = monotonicMs()
      const element = await this.#block(claim)
      if (element !== null) return [element]
      if (monotonicMs() - startedMs > this.#options.blockMs + frozenMs) break
    }
    return []
  }

  async #block(claim: ClaimId): Promise<Buffer | null> {
    const { waits, hash, blockMs } = this.#options
    const store = waits.of(claim.lane)
    if (!this.#connections.has(claim.lane)) {
      const number = store.client.call('client', ['id']).then(String, () => undefined)
      this.#connections.set(claim.lane, number)
    }
    try {
      this.#blocked = store.claims.blockingClaim(claim.id, hash, blockMs)
      return await this.#blocked
    } finally {
      this.#blocked = undefined
    }
  }

  #accept(claim: ClaimId, slot: Slot, elements: readonly Buffer[], awaited: boolean): Batch | undefined {
    const { board, ids } = this.#options
    const chunks = decodeAll(elements)?.map(chunk => this.#fetched(chunk, claim.lane))
    const tasks = chunks?.reduce((sum, { header }) => sum + header.count, 0) ?? 0
    // What is none of ours, too much, or revoked by the main thread meanwhile, the main thread hands back.
    if (chunks === undefined || tasks > maxWindow || !board.size(slot, tasks)) {
      board.close(slot)
      ids.abandon(claim, false)
      return undefined
    }
    traceClaim(claim.id, () => chunks.map(({ header }) => header))
    return { claim, slot, chunks, tasks, suspect: chunks.some(({ header }) => header.deaths > 0), awaited }
  }

  #fetched(chunk: Chunk, lane: number): ClaimedChunk {
    if (chunk.header.kind !== 'held') return chunk
    const held = this.#options.lanes.of(lane).claims.readPayload(chunk.header)
    // Whoever runs the chunk meets the error; it may be handed back before.
    held.catch(() => undefined)
    return { ...chunk, held }
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
