import { claimKey, codeKeys, collectorChannel, controlChannel, laneKeys, partKeys, workerKeys } from '../protocol/keys.ts'
import type { Lane } from '../protocol/keys.ts'
import { decodePartRecord, partFieldArguments } from '../protocol/records.ts'
import type { PartFields, PartRecord } from '../protocol/records.ts'
import { encodeRunValue } from '../protocol/run.ts'
import type { Run } from '../protocol/run.ts'
import { carryOver } from '../protocol/scripts/carry-over.ts'
import { claim } from '../protocol/scripts/claim.ts'
import { attach, drop, park, release, renewDriver } from '../protocol/scripts/collect.ts'
import { giveBack } from '../protocol/scripts/give-back.ts'
import { bury, declareDead, enroll, heartbeat, leave, register, retireClaim } from '../protocol/scripts/membership.ts'
import { peekClaim } from '../protocol/scripts/peek-claim.ts'
import { promote } from '../protocol/scripts/promote.ts'
import { settle } from '../protocol/scripts/settle.ts'
import { split } from '../protocol/scripts/split.ts'
import { submit } from '../protocol/scripts/submit.ts'
import type { Client } from './client.ts'
import { runScript } from './run-script.ts'

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

/** Which job, in which incarnation: what every operation on a part names. */
export interface PartName {
  readonly job: string
  readonly incarnation: string
}

/** The largest results that travel inside a notification; larger ones are read from the Hash. */
const inlineBytes = 128 * 1024

/**
 * The operations of one lane, over one connection: the scripts by what they do, with their keys filled in.
 * Rejections are the client's: a reply error, or an unknown outcome (see `reply-error.ts`).
 */
export class LaneStore {
  readonly lane: Lane
  readonly client: Client
  readonly keys: ReturnType<typeof laneKeys>

  constructor(client: Client, lane: Lane) {
    this.client = client
    this.lane = lane
    this.keys = laneKeys(lane)
  }

  /** The same operations over another connection. */
  over(client: Client): LaneStore {
    return new LaneStore(client, this.lane)
  }

  // Driver ------------------------------------------------------------------------------------------------------------

  submit(part: PartName & { readonly hash: string; readonly collector: string }, batch: {
    readonly from: number
    readonly to: number
    readonly complete: boolean
    readonly elements: readonly Buffer[]
    readonly driverLeaseMs: number
    /** The part's record, when this call may create it. */
    readonly create?: PartFields | undefined
  }) {
    const fields = batch.create === undefined ? [] : partFieldArguments(batch.create)
    return runScript(this.client, submit, {
      keys: { ...this.#partKeys(part.job), ...this.#codeKeys(part.hash), ...this.keys },
      args: {
        job: part.job,
        incarnation: part.incarnation,
        collector: part.collector,
        from: batch.from,
        to: batch.to,
        complete: batch.complete ? 1 : 0,
        driverLeaseMs: batch.driverLeaseMs,
        control: controlChannel(this.lane.namespace, this.lane.queue),
        fieldCount: fields.length,
      },
      moreArgs: [...fields, ...batch.elements],
    })
  }

  /** The part's record before the call's own changes are seen by others; undefined when Redis knows no such job. */
  async attach(job: string, collector: string, driverLeaseMs: number, hash: string): Promise<PartRecord | undefined> {
    const record = await runScript(this.client, attach, {
      keys: { ...this.#partKeys(job), driven: this.keys.driven, ready: this.#codeKeys(hash).ready, lane: this.keys.lane },
      args: { job, collector, driverLeaseMs, channelPrefix: this.#channelPrefix() },
    })
    return record.size === 0 ? undefined : decodePartRecord(record)
  }

  /** The part's record, or undefined when Redis knows no such job. */
  async readPart(job: string): Promise<PartRecord | undefined> {
    const flat = await this.client.hgetallBuffer(partKeys(this.lane, job).part)
    const record = new Map(Object.entries(flat))
    return record.size === 0 ? undefined : decodePartRecord(record)
  }

  release(part: PartName & { readonly collector: string }, released: {
    readonly fields: readonly string[]
    readonly tasks: number
    readonly checkpoint?: { readonly cursor: number; readonly accumulator: Buffer } | undefined
  }) {
    const { part: partKey, results } = partKeys(this.lane, part.job)
    return runScript(this.client, release, {
      keys: { part: partKey, results },
      args: {
        incarnation: part.incarnation,
        collector: part.collector,
        tasks: released.tasks,
        cursor: released.checkpoint?.cursor ?? -1,
        accumulator: released.checkpoint?.accumulator ?? '',
      },
      moreArgs: released.fields,
    })
  }

  renewDriver(jobs: readonly string[], driverLeaseMs: number) {
    return runScript(this.client, renewDriver, { keys: { driven: this.keys.driven }, args: { driverLeaseMs }, moreArgs: jobs })
  }

  /** Forgets the job. With an empty `collector` it is a cancellation by somebody else, and leaves a mark for a minute. */
  drop(part: PartName & { readonly collector: string; readonly hash: string }) {
    return runScript(this.client, drop, {
      keys: { ...this.#partKeys(part.job), ...this.keys, ready: this.#codeKeys(part.hash).ready },
      args: {
        job: part.job,
        incarnation: part.incarnation,
        collector: part.collector,
        channelPrefix: this.#channelPrefix(),
        tombstoneMs: 60_000,
      },
    })
  }

  // Threads -----------------------------------------------------------------------------------------------------------

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
  }) {
    return runScript(this.client, claim, {
      keys: { ...this.#codeKeys(request.hash), ...this.keys, claim: claimKey(this.lane, request.claim), claims: workerKeys(this.lane, request.worker).claims },
      args: { claim: request.claim, waitMs: request.waitMs, mostChunks: request.mostChunks, mostBytes: request.mostBytes },
      moreKeys: request.jobs.flatMap(job => {
        const { part, chunks } = partKeys(this.lane, job)
        return [part, chunks]
      }),
      moreArgs: request.jobs,
    })
  }

  /** Blocks until a chunk is on the stage and moves it into the claim, or resolves with null after `blockMs`. */
  blockingClaim(claimId: string, hash: string, blockMs: number): Promise<Buffer | null> {
    return this.client.blmoveBuffer(codeKeys(this.lane, hash).stage, claimKey(this.lane, claimId), 'RIGHT', 'LEFT', blockMs / 1000)
  }

  settle(part: PartName & { readonly hash: string }, claimId: string, commit: {
    readonly chunks: readonly SettledChunk[]
    readonly runs: readonly Run[]
    readonly retries: readonly Retry[]
    /** Measured nanoseconds a task; 0 when unknown. */
    readonly paceNs: number
  }) {
    const moreArgs: (string | number | Buffer)[] = []
    for (const { first, attempt, done } of commit.chunks) moreArgs.push(first, attempt, done)
    for (const run of commit.runs) moreArgs.push(run.first, run.count, run.kind, encodeRunValue(run))
    for (const { delayMs, element } of commit.retries) moreArgs.push(Math.round(delayMs), element)
    return runScript(this.client, settle, {
      keys: { ...this.#partKeys(part.job), ...this.#codeKeys(part.hash), ...this.keys, claim: claimKey(this.lane, claimId) },
      args: {
        job: part.job,
        incarnation: part.incarnation,
        pace: commit.paceNs.toFixed(1),
        channelPrefix: this.#channelPrefix(),
        inlineBytes,
        chunkCount: commit.chunks.length,
        runCount: commit.runs.length,
        retryCount: commit.retries.length,
      },
      moreArgs,
    })
  }

  /** Returns a job's chunks from a claim, uncharged, but for those still running. At most 64 a call; see `left`. */
  giveBack(job: string, hash: string, claimId: string, running: readonly { readonly first: number; readonly attempt: number }[] = []) {
    return this.#giveBack(job, hash, claimId, { worker: '', reason: 'uncharged', failure: '', evidence: '', maxDeaths: 0 }, running.map(({ first, attempt }) => `${first} ${attempt}`))
  }

  /** Returns a job's chunks from a claim of a worker that was declared dead. `failure` is for those that are quarantined. */
  giveBackOfDead(job: string, hash: string, claimId: string, death: { readonly worker: string; readonly maxDeaths: number; readonly failure: Buffer; readonly evidence: string }) {
    return this.#giveBack(job, hash, claimId, { ...death, reason: 'death' }, [])
  }

  split(part: PartName & { readonly hash: string }, claimId: string, chunk: { readonly first: number; readonly attempt: number; readonly keep: number }) {
    return runScript(this.client, split, {
      keys: { ...this.#partKeys(part.job), ...this.#codeKeys(part.hash), ...this.keys, claim: claimKey(this.lane, claimId) },
      args: { job: part.job, incarnation: part.incarnation, ...chunk },
    })
  }

  carryOver(fromClaim: string, toClaim: string, running: readonly { readonly job: string; readonly first: number; readonly attempt: number }[]) {
    return runScript(this.client, carryOver, {
      keys: { from: claimKey(this.lane, fromClaim), to: claimKey(this.lane, toClaim) },
      args: {},
      moreArgs: running.map(({ job, first, attempt }) => `${job} ${first} ${attempt}`),
    })
  }

  /** The header lines of what a claim holds, oldest first. */
  peekClaim(claimId: string) {
    return runScript(this.client, peekClaim, { keys: { claim: claimKey(this.lane, claimId) }, args: {} })
  }

  // Workers -----------------------------------------------------------------------------------------------------------

  register(worker: string, registration: { readonly leaseMs: number; readonly info: string; readonly claims: readonly string[] }) {
    return runScript(this.client, register, {
      keys: { ...this.keys, ...workerKeys(this.lane, worker) },
      args: { worker, leaseMs: registration.leaseMs, info: registration.info, control: this.#control() },
      moreArgs: registration.claims,
    })
  }

  heartbeat(worker: string, beat: { readonly leaseMs: number; readonly threads: number; readonly stats: string }) {
    return runScript(this.client, heartbeat, { keys: { ...this.keys, ...workerKeys(this.lane, worker) }, args: { worker, ...beat } })
  }

  enroll(worker: string, claimId: string) {
    return runScript(this.client, enroll, { keys: { ...this.keys, ...workerKeys(this.lane, worker) }, args: { worker, claim: claimId } })
  }

  retireClaim(worker: string, claimId: string, hash: string) {
    return runScript(this.client, retireClaim, {
      keys: { claim: claimKey(this.lane, claimId), claims: workerKeys(this.lane, worker).claims, waiting: codeKeys(this.lane, hash).waiting },
      args: { claim: claimId },
    })
  }

  leave(worker: string, claims: readonly string[]) {
    return runScript(this.client, leave, {
      keys: { ...this.keys, ...workerKeys(this.lane, worker) },
      args: { worker, control: this.#control() },
      moreKeys: claims.map(claimId => claimKey(this.lane, claimId)),
    })
  }

  // Recovery ----------------------------------------------------------------------------------------------------------

  /** Declares lapsed workers dead, and lists those that are dead and not yet buried. */
  declareDead(leaseMs: number) {
    return runScript(this.client, declareDead, { keys: this.keys, args: { leaseMs } })
  }

  bury(worker: string, claims: readonly string[]) {
    return runScript(this.client, bury, {
      keys: { ...this.keys, ...workerKeys(this.lane, worker) },
      args: { worker },
      moreKeys: claims.map(claimId => claimKey(this.lane, claimId)),
    })
  }

  promote(job: string, hash: string) {
    return runScript(this.client, promote, { keys: { ...this.#partKeys(job), ...this.#codeKeys(hash), ...this.keys }, args: { job } })
  }

  park(job: string, hash: string) {
    return runScript(this.client, park, {
      keys: { ...this.#partKeys(job), ...this.keys, ready: codeKeys(this.lane, hash).ready },
      args: { job },
    })
  }

  // -------------------------------------------------------------------------------------------------------------------

  #giveBack(
    job: string,
    hash: string,
    claimId: string,
    args: { worker: string; reason: 'uncharged' | 'death'; maxDeaths: number; failure: Buffer | string; evidence: string },
    kept: readonly string[],
  ) {
    return runScript(this.client, giveBack, {
      keys: { ...this.#partKeys(job), ...this.#codeKeys(hash), ...this.keys, claim: claimKey(this.lane, claimId) },
      args: { job, channelPrefix: this.#channelPrefix(), ...args },
      moreArgs: kept,
    })
  }

  #partKeys(job: string) {
    return partKeys(this.lane, job)
  }

  #codeKeys(hash: string) {
    return codeKeys(this.lane, hash)
  }

  #control(): string {
    return controlChannel(this.lane.namespace, this.lane.queue)
  }

  #channelPrefix(): string {
    return collectorChannel(this.lane.namespace, this.lane.queue, '')
  }
}
