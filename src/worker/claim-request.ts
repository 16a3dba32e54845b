import type { Lanes } from '../store/lanes.ts'
import type { ClaimId, ClaimIds } from './claim-ids.ts'
import type { SuspectGate } from './suspect-gate.ts'

const mostChunks = 64
const mostBytes = 8 * 1024 * 1024
const mostJobs = 16
/** A claim names the keys of the jobs that it may take from, and finds out by its answers which jobs there are. */
const mostAsked = 4

/** What a thread has in its hands when it claims. */
export interface Hands {
  /** How many chunks. */
  readonly holding: number
  /** It will soon hold nothing, and comes back then for a chunk that has to run alone. */
  readonly defers: boolean
}

export interface ClaimRequestsOptions {
  readonly hash: string
  /** The thread's number. */
  readonly thread: number
  readonly suspects: SuspectGate
  readonly ids: ClaimIds
  readonly lanes: Lanes
}

/** Asks lanes for chunks that are there now. */
export class ClaimRequests {
  readonly #options: ClaimRequestsOptions
  /** The jobs that were in line when a lane was last asked. */
  readonly #jobs = new Map<number, readonly string[]>()

  constructor(options: ClaimRequestsOptions) {
    this.#options = options
  }

  /**
   * Moves chunks of one job into the claim. When there are none, and `waitMs` is not 0, Redis counts the claim among those
   * that wait on the stage for so long. 'unenrolled': the lane does not know the worker any more. 'undeclared': what is in line
   * changed each time, and it is not counted.
   */
  async ask(claim: ClaimId, { holding, defers }: Hands, waitMs: number) {
    const { lanes, hash, ids, suspects, thread } = this.#options
    const { id, worker, lane } = claim
    for (let asked = 1; ; asked++) {
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
        noted: ids.notedAs(lane),
      })
      if (reply.word === 'unenrolled') ids.lost(worker, lane)
      else this.#jobs.set(lane, reply.jobs.slice(0, mostJobs))
      if (reply.word !== 'undeclared' || asked === mostAsked) return reply
    }
  }
}
