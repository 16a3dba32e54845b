import { decodeChunk } from '../protocol/chunk.ts'
import { encodeEvidence, factsOf } from '../protocol/evidence.ts'
import { encodeOutcome } from '../protocol/outcome.ts'
import type { Log } from '../runtime/log.ts'
import { Loop } from '../runtime/loop.ts'
import type { Service } from '../runtime/service.ts'
import { workerRecord } from '../store/inspect/census.ts'
import type { LaneStore } from '../store/lane-store.ts'
import { isDamage } from '../store/mend.ts'
import { emptyClaim } from './claim-contents.ts'
import type { Emptied, JobShare } from './claim-contents.ts'
import { deadWorker, deathEvidence } from './dead-worker.ts'
import type { DeadWorker } from './dead-worker.ts'
import { errorText } from './error-text.ts'

export interface ReaperOptions {
  /** How long a worker may be silent before it counts as dead. */
  readonly leaseMs: number
  /** Certain deaths after which a task is quarantined. */
  readonly maxDeaths: number
  /** @default a sixth of `leaseMs`: the grace after a stall allows gaps up to a third */
  readonly intervalMs?: number
  readonly log: Log
}

/** What one run did. */
export interface ReapReport {
  /** The ids of the workers that were found dead and not yet buried. */
  readonly dead: readonly string[]
  /** Chunks that went back in line. */
  readonly returned: number
  /** Tasks that were set aside. */
  readonly quarantined: number
  /** Workers whose records were deleted. */
  readonly buried: number
}

/**
 * Returns the chunks of dead workers. A worker dies in two steps: it is declared dead, and its claims are emptied, at
 * once and again in every run; one lease later, when they are still empty, its records are deleted. In between a
 * blocked `BLMOVE` of a frozen process may put another chunk into one of its claims.
 *
 * Every worker runs one; they need not agree on anything, because each step is one script that checks for itself.
 */
export class Reaper implements Service {
  readonly #store: LaneStore
  readonly #options: ReaperOptions
  readonly #loop: Loop

  constructor(store: LaneStore, options: ReaperOptions) {
    this.#store = store
    this.#options = options
    this.#loop = new Loop(
      async () => {
        await this.runOnce()
      },
      {
        intervalMs: options.intervalMs ?? options.leaseMs / 6,
        onError: error => {
          options.log.warn(`The reaper could not run and will try again: ${errorText(error)}`)
        },
      },
    )
  }

  start(): void {
    this.#loop.start()
  }

  stop(): Promise<void> {
    return this.#loop.stop()
  }

  /** One round. Where another worker's reaper has just run, it finds nothing to do. */
  async runOnce(): Promise<ReapReport> {
    const dead = await this.#store.members.declareDead(this.#options.leaseMs)
    const totals = { returned: 0, quarantined: 0, buried: 0 }
    for (const worker of dead) {
      try {
        const claims = await this.#store.members.claimsOf(worker)
        const { returned, quarantined } = await this.#emptyClaims(worker, claims)
        totals.returned += returned
        totals.quarantined += quarantined
        if ((await this.#store.members.bury(worker, claims)) === 'buried') totals.buried++
      } catch (error) {
        // What stands in the keys of one dead worker must not keep the others' work from going on.
        if (!isDamage(error)) throw error
        this.#options.log.warn(`The records of the dead worker ${worker} were damaged: ${errorText(error)}`)
      }
    }
    return { dead, ...totals }
  }

  async #emptyClaims(worker: string, claims: readonly string[]): Promise<Emptied> {
    const total = { returned: 0, quarantined: 0 }
    let known: DeadWorker | undefined
    for (const claim of await this.#holding(claims)) {
      known ??= deadWorker(worker, await workerRecord(this.#store, worker))
      const { returned, quarantined } = await emptyClaim(this.#store, claim, this.#giveBack(worker, known, claim))
      total.returned += returned
      total.quarantined += quarantined
    }
    if (known !== undefined) {
      const { label } = known
      const aside =
        total.quarantined === 0 ? '' : `; ${total.quarantined} of its tasks had their last chance and were quarantined`
      this.#options.log.warn(`Worker ${label} is gone: ${total.returned} of its chunks will run elsewhere${aside}.`)
    }
    return total
  }

  /** Which of the claims hold anything: nearly none, so they are asked all at once. */
  async #holding(claims: readonly string[]): Promise<string[]> {
    const lines = await Promise.all(claims.map(claim => this.#store.claims.peekClaim(claim)))
    return claims.filter((_, index) => (lines[index]?.length ?? 0) > 0)
  }

  #giveBack(worker: string, dead: DeadWorker, claim: string) {
    const { maxDeaths } = this.#options
    const { label, end } = dead
    return async ({ job, headers }: JobShare, hash: string) => {
      // Only a task that was alone in its claim can be quarantined, so that the first header is that task's.
      const suspect = headers[0]
      const isLast = headers.length === 1 && suspect?.count === 1 && suspect.deaths >= maxDeaths
      const evidence = deathEvidence(dead, this.#options, isLast ? await this.#factsOf(claim) : [])
      const failure = encodeOutcome({
        code: 'TASK_QUARANTINED',
        attempt: suspect?.attempt ?? 1,
        worker: label,
        error: {
          kind: 'error',
          name: 'Error',
          message: `The process that ran this task died ${maxDeaths} times, the last time it ${end?.how ?? 'vanished'}; the task was set aside.`,
          stack: '',
        },
        evidence,
      })
      return this.#store.claims.giveBackOfDead(job, hash, claim, {
        worker,
        maxDeaths,
        failure,
        evidence: encodeEvidence({ at: Date.now(), worker: label, evidence }),
      })
    }
  }

  /** Of the one task that the claim holds. */
  async #factsOf(claim: string): Promise<string[]> {
    const [element] = await this.#store.claims.readClaim(claim)
    try {
      return element === undefined ? [] : factsOf(decodeChunk(element))
    } catch {
      return []
    }
  }
}
