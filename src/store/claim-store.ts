import { payloadField } from '../protocol/chunk.ts'
import type { ChunkHeader, HeldPayload } from '../protocol/chunk.ts'
import { claimKey, codeKeys, partKeys, workerKeys } from '../protocol/keys.ts'
import { heldRunValue, newHeldField, runValue } from '../protocol/run.ts'
import type { Run } from '../protocol/run.ts'
import { claim } from '../protocol/scripts/claim.ts'
import { giveBack } from '../protocol/scripts/give-back.ts'
import { peekClaim } from '../protocol/scripts/peek-claim.ts'
import { settle } from '../protocol/scripts/settle.ts'
import { split } from '../protocol/scripts/split.ts'
import { traceCommit } from './trace.ts'
import { LaneAccess } from './lane-access.ts'
import { replyCode } from './reply-error.ts'
import { PreparedScript, PreparedScripts } from './prepared-script.ts'
import type { Argument } from './run-script.ts'
import type { PartName } from './lane-access.ts'

/** One chunk of a commit: its first `done` tasks are settled by the runs and retries that come along. */
export interface SettledChunk {
  readonly first: number
  readonly attempt: number
  readonly done: number
}

export interface Retry {
  readonly delayMs: number
  /** An encoded chunk of the one task, with its next attempt number. */
  readonly element: Buffer
}

interface SettledBatch {
  readonly chunks: readonly SettledChunk[]
  readonly runs: readonly Run[]
  readonly retries: readonly Retry[]
  /** Measured nanoseconds a task; 0 when unknown. */
  readonly paceNs: number
}

interface GiveBackArguments {
  readonly worker: string
  readonly reason: 'uncharged' | 'death'
  readonly maxDeaths: number
  readonly failure: Buffer | string
  readonly evidence: string
}

/** The largest results that travel inside a notification; larger ones are read from the Hash. */
const inlineBytes = 128 * 1024

/** What would not travel inside a notification anyway is not given to the script either. */
function isLarge({ kind, bytes }: Run): boolean {
  return kind === 'values' && bytes.length > inlineBytes
}

/** What threads do with chunks: claim, settle, hand back, split. */
export class ClaimStore extends LaneAccess {
  readonly #settles = new PreparedScripts<ReturnType<typeof settle.parse>>()

  claim(request: {
    readonly claim: string
    readonly worker: string
    readonly hash: string
    /** The jobs that the caller knows, which it declares. */
    readonly jobs: readonly string[]
    /** > 0: when there is nothing, note that the caller blocks on the stage for so long. */
    readonly waitMs: number
    readonly mostChunks: number
    readonly mostBytes: number
    /** How many chunks the thread holds in other claims. @default 0 */
    readonly holding?: number
    /** It would rather get nothing than pass by a chunk that only a thread with nothing in hand may have. */
    readonly defers?: boolean
    /** The claim by which this thread was noted as one that waits. @default `claim` */
    readonly noted?: string | undefined
  }) {
    return this.run(claim, {
      keys: {
        ...codeKeys(this.lane, request.hash),
        ...this.keys,
        claim: claimKey(this.lane, request.claim),
        claims: workerKeys(this.lane, request.worker).claims,
      },
      args: {
        claim: request.claim,
        worker: request.worker,
        waitMs: request.waitMs,
        mostChunks: request.mostChunks,
        mostBytes: request.mostBytes,
        holding: request.holding ?? 0,
        defers: request.defers === true ? 1 : 0,
        noted: request.noted ?? request.claim,
      },
      moreKeys: request.jobs.flatMap(job => {
        const { part, chunks } = partKeys(this.lane, job)
        return [part, chunks]
      }),
      moreArgs: request.jobs,
    })
  }

  /** Blocks until a chunk is on the stage and moves it into the claim, or resolves with null after `blockMs`. */
  blockingClaim(claimId: string, hash: string, blockMs: number): Promise<Buffer | null> {
    const stage = codeKeys(this.lane, hash).stage
    const claim = claimKey(this.lane, claimId)
    const keys = [stage, claim].map(key => ({ key, kind: 'list' as const }))
    return this.read(keys, () => this.client.blmoveBuffer(stage, claim, 'RIGHT', 'LEFT', blockMs / 1000))
  }

  /** Whether chunks for this code stand in line or on the stage. */
  async hasWork(hash: string): Promise<boolean> {
    const { ready, stage } = codeKeys(this.lane, hash)
    return (await this.client.exists(ready, stage)) > 0
  }

  settle(
    part: PartName & { readonly hash: string },
    claimId: string,
    commit: SettledBatch,
  ): Promise<ReturnType<typeof settle.parse>> {
    const { job, incarnation } = part
    return traceCommit({ claim: claimId, job, incarnation, runs: commit.runs }, async () => {
      const held = commit.runs.some(isLarge)
      try {
        return await this.#settle(part, claimId, commit, held)
      } catch (error) {
        // A full Redis takes nothing but scripts, and what was run is to be kept.
        if (!held || replyCode(error) !== 'OOM') throw error
        return this.#settle(part, claimId, commit, false)
      }
    })
  }

  /** `hold`: whether large results are stored beside the results. */
  #settle(part: PartName & { readonly hash: string }, claimId: string, commit: SettledBatch, hold: boolean) {
    const { chunks, runs, retries } = commit
    const { job, incarnation } = part
    const payloads: HeldPayload[] = []
    const rest: Argument[] = [commit.paceNs.toFixed(1), chunks.length, runs.length, retries.length]
    for (const { first, attempt, done } of chunks) rest.push(first, attempt, done)
    for (const run of runs) {
      if (hold && isLarge(run)) {
        const field = newHeldField()
        payloads.push({ field, payload: run.bytes })
        rest.push(run.first, run.count, 'held', heldRunValue(run.count, field, run.bytes.length))
      } else rest.push(run.first, run.count, run.kind, runValue(run))
    }
    for (const { delayMs, element } of retries) rest.push(Math.round(delayMs), element)
    const prepared = this.#settles.get(`${claimId} ${incarnation} ${job} ${part.hash}`, () => {
      const claim = claimKey(this.lane, claimId)
      const keys = { ...partKeys(this.lane, job), ...codeKeys(this.lane, part.hash), ...this.keys, claim }
      return PreparedScript.of(settle, keys, [job, incarnation, this.channelPrefix(), String(inlineBytes)])
    })
    return this.runPrepared(prepared, rest, payloads)
  }

  /** Returns a job's chunks from a claim, uncharged, but for those still running. At most 64 a call; see `left`. */
  giveBack(
    job: string,
    hash: string,
    claimId: string,
    running: readonly { readonly first: number; readonly attempt: number }[] = [],
  ) {
    return this.#giveBack(
      job,
      hash,
      claimId,
      { worker: '', reason: 'uncharged', failure: '', evidence: '', maxDeaths: 0 },
      running.map(({ first, attempt }) => `${first} ${attempt}`),
    )
  }

  /** Returns a job's chunks from a claim of a worker that was declared dead. `failure` is for those that are quarantined. */
  giveBackOfDead(
    job: string,
    hash: string,
    claimId: string,
    death: { readonly worker: string; readonly maxDeaths: number; readonly failure: Buffer; readonly evidence: string },
  ) {
    return this.#giveBack(job, hash, claimId, { ...death, reason: 'death' }, [])
  }

  /**
   * Staged → waiting: returns a job's chunks from the stage, which is a List that holds chunks like any claim; drops
   * those of a job that is gone. At most 64 a call.
   */
  unstage(job: string, hash: string) {
    return this.#giveBackFrom(
      codeKeys(this.lane, hash).stage,
      job,
      hash,
      { worker: '', reason: 'uncharged', failure: '', evidence: '', maxDeaths: 0 },
      [],
    )
  }

  split(
    part: PartName & { readonly hash: string },
    claimId: string,
    chunk: {
      readonly first: number
      readonly attempt: number
      readonly keep: number
      /** What the tasks take at least. @default 0 */
      readonly paceNs?: number
    },
  ) {
    return this.run(split, {
      keys: {
        ...partKeys(this.lane, part.job),
        ...codeKeys(this.lane, part.hash),
        ...this.keys,
        claim: claimKey(this.lane, claimId),
      },
      args: {
        job: part.job,
        incarnation: part.incarnation,
        first: chunk.first,
        attempt: chunk.attempt,
        keep: chunk.keep,
        pace: (chunk.paceNs ?? 0).toFixed(1),
      },
    })
  }

  /** What a claim holds, oldest first, with payloads. For a claim of our own: it holds a batch. */
  async readClaim(claimId: string): Promise<Buffer[]> {
    const key = claimKey(this.lane, claimId)
    return (await this.read([{ key, kind: 'list' }], () => this.client.lrangeBuffer(key, 0, -1))).reverse()
  }

  /** The payload of a held chunk; null when it is settled, or was deleted. */
  readPayload(header: ChunkHeader): Promise<Buffer | null> {
    const { payloads } = partKeys(this.lane, header.job)
    return this.read([{ key: payloads, kind: 'hash' }], () => this.client.hgetBuffer(payloads, payloadField(header)))
  }

  /** The header lines of what a claim holds, oldest first. */
  peekClaim(claimId: string) {
    return this.run(peekClaim, { keys: { claim: claimKey(this.lane, claimId) }, args: {} })
  }

  /** The header lines of what stands on a stage, oldest first, at most 256. */
  peekStage(hash: string) {
    return this.run(peekClaim, { keys: { claim: codeKeys(this.lane, hash).stage }, args: {} })
  }

  #giveBack(job: string, hash: string, claimId: string, args: GiveBackArguments, kept: readonly string[]) {
    return this.#giveBackFrom(claimKey(this.lane, claimId), job, hash, args, kept)
  }

  #giveBackFrom(list: string, job: string, hash: string, args: GiveBackArguments, kept: readonly string[]) {
    return this.run(giveBack, {
      keys: { ...partKeys(this.lane, job), ...codeKeys(this.lane, hash), ...this.keys, claim: list },
      args: { job, channelPrefix: this.channelPrefix(), ...args },
      moreArgs: kept,
    })
  }
}
