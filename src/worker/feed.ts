import { setTimeout as sleep } from 'node:timers/promises'
import { homeLane } from '../protocol/placement.ts'
import { isReady } from '../store/client.ts'
import { isTransient, outcomeUnknown } from '../store/reply-error.ts'
import { traceClaim } from '../store/trace.ts'
import { claimedChunks } from './batch.ts'
import type { Batch } from './batch.ts'
import { maxWindow } from './board.ts'
import type { Board, Slot } from './board.ts'
import type { ClaimId } from './claim-ids.ts'
import { ClaimRequests } from './claim-request.ts'
import type { ClaimRequestsOptions, Hands } from './claim-request.ts'
import { StageWait } from './stage-wait.ts'
import type { StageWaitOptions } from './stage-wait.ts'

export interface FeedOptions extends ClaimRequestsOptions, StageWaitOptions {
  readonly board: Board
  /** A thread that waited found work on a lane that is not its own. */
  readonly onFound: (lane: number) => void
  readonly warn: (line: string) => void
}

/** When a claim blocks: never, where asking gives nothing, or without asking, by a thread that is noted. */
type Waits = 'never' | 'if empty' | 'at once'

const empty: Hands = { holding: 0, defers: false }

/** A thread may begin to block again so long after it was noted, and Redis counts it until it blocks no more all the same. */
const lateMs = 500
/** How soon a thread looks again when no lane can be reached, while others could be reached first. */
const awayMs = 50
const suspectPauseMs = 200

/**
 * Where a thread gets its batches from. One call at a time. It blocks on one lane and takes from the others what is
 * there: that there is something new it hears on the control channel (`wake`), or finds at its next look.
 */
export class Feed {
  readonly #options: FeedOptions
  readonly #requests: ClaimRequests
  readonly #stage: StageWait

  constructor(options: FeedOptions) {
    this.#options = options
    this.#requests = new ClaimRequests(options)
    this.#stage = new StageWait(options)
    // Connected to ahead of the first wait.
    options.waits.of(homeLane(options.thread, options.lanes.numbers))
  }

  /** Claims what is there now, on the home lane first. */
  async claim(slot: Slot, hands: Hands): Promise<Batch | undefined> {
    for (const lane of this.#lanesAtHand()) {
      if (this.#stage.stopped) break
      const batch = await this.#guarded(() => this.#claim(slot, lane, hands, 'never'))
      if (batch !== undefined) return batch
    }
    return undefined
  }

  /**
   * Claims, and waits a few times `blockMs` for something to claim. For a thread that holds nothing. `inLine`: whether anything
   * may have waited when its last commit was made. A thread that is still noted waits without asking, and without that answer:
   * what comes after the commit is put on the stage, and for what was there before it the wait is broken off.
   */
  async claimWaiting(slot: Slot, inLine: Promise<boolean>): Promise<Batch | undefined> {
    const [waitLane, ...others] = this.#lanesAtHand()
    this.#stage.aim(waitLane)
    if (waitLane !== undefined && others.length === 0 && this.#options.ids.isNoted(waitLane)) {
      inLine.then(
        some => {
          if (some) this.look()
        },
        () => undefined,
      )
      return this.#guarded(() => this.#claim(slot, waitLane, empty, 'at once'))
    }
    for (const lane of others) {
      if (this.#stage.stopped) break
      const batch = await this.#guarded(() => this.#claim(slot, lane, empty, 'never'))
      if (batch === undefined) continue
      this.#options.onFound(lane)
      return batch
    }
    if (this.#stage.stopped) return undefined
    if (waitLane !== undefined) return this.#guarded(() => this.#claim(slot, waitLane, empty, 'if empty'))
    await sleep(awayMs)
    return undefined
  }

  /** There is work on a lane: a thread that blocks on another one, or is about to, looks there first. */
  wake(lane: number): void {
    this.#stage.wake(lane)
  }

  /** What this thread waits for, or under which name, may not be so any more: it looks for itself. */
  look(): void {
    this.#stage.interrupt()
  }

  /** Ends a wait, and lets no other begin. */
  stop(): Promise<void> {
    return this.#stage.stop()
  }

  /** A connection of a lane broke, and a claim of the former one is not waited on again. */
  renew(lane: number): void {
    this.#stage.renew(lane)
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

  async #claim(slot: Slot, lane: number, hands: Hands, waits: Waits): Promise<Batch | undefined> {
    const { ids, board, suspects, thread } = this.#options
    const claim = await ids.take(lane)
    if (claim === undefined) return undefined
    board.open(slot, claim.id)
    let elements: readonly Buffer[] = []
    let isLost = false
    let awaited = waits === 'at once' && ids.isNoted(lane)
    try {
      if (!awaited) {
        const askedMs = performance.now()
        const reply = await this.#requests.ask(claim, hands, waits === 'never' ? 0 : this.#stage.mostMs + 2 * lateMs)
        elements = reply.elements
        isLost = reply.word === 'unenrolled'
        if (isLost || reply.word === 'claimed') ids.removeNote(lane)
        else if (reply.word === 'empty' && waits !== 'never') {
          awaited = true
          ids.note(claim, askedMs + lateMs)
        }
      }
      if (awaited) {
        const element = await this.#stage.wait(claim)
        elements = element === undefined ? [] : [element]
      }
      if (elements.length === 0) ids.endNote(lane)
    } catch (error) {
      board.close(slot)
      ids.endNote(lane)
      // A BLMOVE that was refused has moved nothing; a script may have come half its way.
      if (awaited && !outcomeUnknown(error)) ids.release(claim)
      else ids.abandon(claim, waits !== 'never')
      throw error
    }
    if (elements.length === 0) {
      board.close(slot)
      if (isLost) ids.abandon(claim, false)
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

  #accept(claim: ClaimId, slot: Slot, elements: readonly Buffer[], awaited: boolean): Batch | undefined {
    const { board, ids, lanes } = this.#options
    const chunks = claimedChunks(elements, lanes.of(claim.lane).claims)
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
}
