import { setTimeout as sleep } from 'node:timers/promises'
import { jitteredBackoffMs } from '../runtime/backoff.ts'
import type { Lanes } from '../store/lanes.ts'
import { isTransient, outcomeUnknown, refusesWrites } from '../store/reply-error.ts'
import type { Batch } from './batch.ts'
import { partHash } from './board.ts'
import type { Board } from './board.ts'
import type { ClaimIds } from './claim-ids.ts'
import { buildCommits } from './commit.ts'
import type { Commit, FinishedChunk } from './commit.ts'

export interface CommitterOptions {
  readonly board: Board
  readonly hash: string
  /** This thread, as `host:pid/thread`. */
  readonly worker: string
  readonly lanes: Lanes
  readonly ids: ClaimIds
  readonly warn: (line: string) => void
  readonly settled: (tasks: number) => void
}

const mostUnanswered = 3

/** 'last': committed, and nothing else waited for a thread. */
type CommitOutcome = 'committed' | 'last' | 'discarded' | 'fenced' | 'failed'

/**
 * Hands in what was run. A commit whose reply was lost is sent again: if the first sending ran, the claim holds the
 * chunks no more and the second is 'fenced'. So is one that comes after the worker was declared dead, or after Redis
 * lost the claim; then somebody else runs the tasks, and nothing is overwritten.
 */
export class Committer {
  readonly #options: CommitterOptions
  readonly #unanswered = new Set<Promise<void>>()
  #lastInLine: Promise<boolean> = Promise.resolve(true)

  constructor(options: CommitterOptions) {
    this.#options = options
  }

  /** Begins to hand in a batch. Resolves when little enough is unanswered that another batch may be run. */
  async send(batch: Batch, finished: readonly FinishedChunk[], paceNs: number): Promise<void> {
    this.#lastInLine = this.#send(batch, finished, paceNs).catch((error: unknown) => {
      this.#options.warn(`a commit could not be made, its tasks are handed back: ${(error as Error).message}`)
      this.#options.ids.abandon(batch.claim, false)
      return true
    })
    const sending = this.#lastInLine.then(() => {
      this.#unanswered.delete(sending)
    })
    this.#unanswered.add(sending)
    while (this.#unanswered.size >= mostUnanswered) await Promise.race(this.#unanswered)
  }

  /** Whether something may have waited for a thread when the last commit was made. Resolves when that was answered. */
  get inLine(): Promise<boolean> {
    return this.#lastInLine
  }

  /** Resolves when every commit was answered. */
  async idle(): Promise<void> {
    await Promise.all(this.#unanswered)
  }

  async #send(batch: Batch, finished: readonly FinishedChunk[], paceNs: number): Promise<boolean> {
    const { claim } = batch
    const { ids } = this.#options
    const commits = this.#build(batch, finished)
    const replies = await Promise.all(commits.map(commit => this.#settle(batch, commit, paceNs)))
    // The main thread may still be handing back what it took away from this claim's batch.
    const lowered = finished.some(({ header, done }) => done < header.count)
    const isAbandoned = lowered || replies.includes('failed') || replies.includes('fenced')
    if (isAbandoned) ids.abandon(claim, false)
    else ids.release(claim)
    // Abandoned, the claim may be the one by which Redis counts this thread among those that wait.
    return isAbandoned || replies.length === 0 || replies.some(reply => reply !== 'last')
  }

  /** User code may run here: a reducer. */
  #build({ claim, chunks }: Batch, finished: readonly FinishedChunk[]): Commit[] {
    const { board, worker } = this.#options
    board.enterHandingIn(claim.id, partHash(chunks[0]!.header))
    try {
      return buildCommits(finished, worker)
    } finally {
      board.enter(-1)
    }
  }

  async #settle({ claim }: Batch, commit: Commit, paceNs: number): Promise<CommitOutcome> {
    const { hash, lanes, warn, settled } = this.#options
    for (let attempt = 1; ; attempt++) {
      try {
        const { word, inLine } = await lanes
          .of(claim.lane)
          .claims.settle({ ...commit.part, hash }, claim.id, { ...commit, paceNs })
        if (word === 'committed') settled(commit.runs.reduce((sum, run) => sum + run.count, 0))
        if (word === 'fenced' && attempt === 1)
          warn(`a commit for job ${commit.part.job} was refused: its tasks are someone else's now`)
        return word === 'committed' && !inLine ? 'last' : word
      } catch (error) {
        if (!outcomeUnknown(error) && !isTransient(error) && !refusesWrites(error)) {
          warn(`a commit for job ${commit.part.job} failed, its tasks are handed back: ${(error as Error).message}`)
          return 'failed'
        }
      }
      await sleep(jitteredBackoffMs(attempt, { firstMs: 20, mostMs: 1000 }))
    }
  }
}
