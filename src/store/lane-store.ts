import type { Redis } from 'ioredis'
import { MalformedDataError } from '../errors.ts'
import { encodeControl } from '../protocol/control.ts'
import type { ControlMessage } from '../protocol/control.ts'
import {
  broadcastKey,
  claimKey,
  codeKeys,
  collectorChannel,
  controlChannel,
  laneKeys,
  partKeys,
  workerKeys,
} from '../protocol/keys.ts'
import type { Lane } from '../protocol/keys.ts'
import { decodeLanes } from '../protocol/placement.ts'
import { counterFields, decodeCounters, decodePartRecord, partFieldArguments } from '../protocol/records.ts'
import type { PartCounters, PartFields, PartRecord } from '../protocol/records.ts'
import { encodeAnswered, encodeRunValue } from '../protocol/run.ts'
import type { Run } from '../protocol/run.ts'
import { agreeLanes } from '../protocol/scripts/agree-lanes.ts'
import { answer } from '../protocol/scripts/answer.ts'
import { cancelTask } from '../protocol/scripts/cancel-task.ts'
import { carryOver } from '../protocol/scripts/carry-over.ts'
import { claim } from '../protocol/scripts/claim.ts'
import { attach, drop, park, release, renewDriver } from '../protocol/scripts/collect.ts'
import { enlist } from '../protocol/scripts/enlist.ts'
import { forget } from '../protocol/scripts/forget.ts'
import { giveBack } from '../protocol/scripts/give-back.ts'
import { bury, declareDead, enroll, heartbeat, leave, register, retireClaim } from '../protocol/scripts/membership.ts'
import type { Script } from '../protocol/script.ts'
import { expel } from '../protocol/scripts/mend.ts'
import { peekChunks } from '../protocol/scripts/peek-chunks.ts'
import { peekClaim } from '../protocol/scripts/peek-claim.ts'
import { promote } from '../protocol/scripts/promote.ts'
import { noteQuarantine } from '../protocol/scripts/quarantine.ts'
import { retryQuarantined } from '../protocol/scripts/retry-quarantined.ts'
import { scanResults } from '../protocol/scripts/scan-results.ts'
import { settle } from '../protocol/scripts/settle.ts'
import { split } from '../protocol/scripts/split.ts'
import { submit } from '../protocol/scripts/submit.ts'
import type { Client } from './client.ts'
import { isDamage, kindsOf, mendKeys } from './mend.ts'
import type { KindOfKey } from './mend.ts'
import { runScript } from './run-script.ts'
import type { ScriptCall } from './run-script.ts'
import { traceCommit } from './trace.ts'

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

interface GiveBackArguments {
  readonly worker: string
  readonly reason: 'uncharged' | 'death'
  readonly maxDeaths: number
  readonly failure: Buffer | string
  readonly evidence: string
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

  submit(
    part: PartName & { readonly hash: string; readonly collector: string },
    batch: {
      readonly from: number
      readonly to: number
      readonly complete: boolean
      readonly elements: readonly Buffer[]
      /** How many of the tasks come without chunks, because their results are collected already. */
      readonly skipped: number
      readonly driverLeaseMs: number
      /** The part's record, when this call may create it. */
      readonly create?: (PartFields & { readonly attaches?: number }) | undefined
      /** The encoded shared value, which goes along with `create`. */
      readonly shared?: Buffer | undefined
    },
  ) {
    const fields = batch.create === undefined ? [] : partFieldArguments(batch.create)
    const shared = batch.create === undefined || batch.shared === undefined ? [] : [batch.shared]
    return this.#run(submit, {
      keys: { ...this.#partKeys(part.job), ...this.#codeKeys(part.hash), ...this.keys },
      args: {
        job: part.job,
        incarnation: part.incarnation,
        collector: part.collector,
        from: batch.from,
        to: batch.to,
        skipped: batch.skipped,
        complete: batch.complete ? 1 : 0,
        driverLeaseMs: batch.driverLeaseMs,
        fieldCount: fields.length,
        sharedCount: shared.length,
      },
      moreArgs: [...fields, ...shared, ...batch.elements],
    })
  }

  /** The part's record before the call's own changes are seen by others; undefined when Redis knows no such job. */
  async attach(job: string, collector: string, driverLeaseMs: number, hash: string): Promise<PartRecord | undefined> {
    const record = await this.#run(attach, {
      keys: { ...this.#partKeys(job), ...this.#codeKeys(hash), ...this.keys },
      args: { job, collector, driverLeaseMs, channelPrefix: this.#channelPrefix() },
    })
    return record.size === 0 ? undefined : decodePartRecord(record)
  }

  /** The part's record, or undefined when Redis knows no such job. */
  async readPart(job: string): Promise<PartRecord | undefined> {
    const { part } = partKeys(this.lane, job)
    const flat = await this.read([{ key: part, kind: 'part' }], () => this.client.hgetallBuffer(part))
    const record = new Map(Object.entries(flat))
    return record.size === 0 ? undefined : decodePartRecord(record)
  }

  /** Whether there is a record of this job. */
  async hasPart(job: string): Promise<boolean> {
    return (await this.client.exists(partKeys(this.lane, job).part)) === 1
  }

  /**
   * The counters of a part that move, without what may be large; undefined when Redis knows no such job, or has a record
   * under its name that is none, which is cleared away.
   */
  async readCounters(job: string): Promise<PartCounters | undefined> {
    const { part, delayed } = partKeys(this.lane, job)
    const keys = [
      { key: part, kind: 'part' },
      { key: delayed, kind: 'zset' },
    ] as const
    for (let attempt = 1; ; attempt++) {
      const [values, delayedChunks] = await this.read(keys, () =>
        Promise.all([this.client.hmget(part, ...counterFields), this.client.zcard(delayed)]),
      )
      try {
        return decodeCounters(values, delayedChunks)
      } catch (error) {
        if (!(error instanceof MalformedDataError) || attempt > 1) throw error
        await this.mend(keys)
      }
    }
  }

  /** Which runs are in the results Hash: one step of a scan, begun and ended by the cursor '0'. */
  scanResults(job: string, cursor: string) {
    return this.#run(scanResults, {
      keys: { results: partKeys(this.lane, job).results },
      args: { cursor, count: 256 },
    })
  }

  /** The values of fields of the results Hash; null for those that are gone. */
  readResults(job: string, fields: readonly string[]): Promise<(Buffer | null)[]> {
    const { results } = partKeys(this.lane, job)
    return this.read([{ key: results, kind: 'hash' }], () => this.client.hmgetBuffer(results, ...fields))
  }

  /** Says something to all workers of the queue. A Cluster passes it on to those that listen on another node. */
  async publishControl(message: ControlMessage): Promise<void> {
    await this.client.publish(this.#control(), encodeControl(message))
  }

  release(
    part: PartName & { readonly collector: string },
    released: {
      /** Runs by the first of their tasks. */
      readonly runs: readonly { readonly first: number; readonly count: number }[]
      /** How far an ordered consumer is. */
      readonly cursor?: number | undefined
      /** What it has reduced up to there. */
      readonly accumulator?: Buffer | undefined
    },
  ) {
    const { part: partKey, results } = partKeys(this.lane, part.job)
    return this.#run(release, {
      keys: { part: partKey, results },
      args: {
        incarnation: part.incarnation,
        collector: part.collector,
        cursor: released.cursor ?? -1,
        accumulator: released.accumulator ?? '',
      },
      moreArgs: released.runs.flatMap(({ first, count }) => [first, count]),
    })
  }

  renewDriver(jobs: readonly string[], driverLeaseMs: number) {
    return this.#run(renewDriver, {
      keys: { driven: this.keys.driven },
      args: { driverLeaseMs },
      moreArgs: jobs,
    })
  }

  /** Puts a part back where it must be found, if it is not there. `driverLeaseMs`: 0 for one that needs no driver. */
  enlist(job: string, hash: string, driverLeaseMs: number) {
    return this.#run(enlist, {
      keys: { ...this.#partKeys(job), ...this.#codeKeys(hash), ...this.keys },
      args: { job, driverLeaseMs },
    })
  }

  /** Forgets the job. With an empty `collector` it is a cancellation by somebody else, and leaves a mark for a minute; so does the end of a job that was attached to, for an hour. */
  drop(part: PartName & { readonly collector: string; readonly hash: string }) {
    return this.#run(drop, {
      keys: { ...this.#partKeys(part.job), ...this.keys, ready: this.#codeKeys(part.hash).ready },
      args: {
        job: part.job,
        incarnation: part.incarnation,
        collector: part.collector,
        channelPrefix: this.#channelPrefix(),
        tombstoneMs: part.collector === '' ? 60_000 : 3_600_000,
      },
    })
  }

  /** Takes one task that waits out of its job, with this outcome. 'elsewhere': it does not wait any more. */
  cancelTask(part: PartName, index: number, failure: Buffer) {
    return this.#run(cancelTask, {
      keys: this.#partKeys(part.job),
      args: { job: part.job, incarnation: part.incarnation, index, channelPrefix: this.#channelPrefix(), failure },
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
    /** How many chunks the thread holds in other claims. @default 0 */
    readonly holding?: number
  }) {
    return this.#run(claim, {
      keys: {
        ...this.#codeKeys(request.hash),
        ...this.keys,
        claim: claimKey(this.lane, request.claim),
        claims: workerKeys(this.lane, request.worker).claims,
      },
      args: {
        claim: request.claim,
        waitMs: request.waitMs,
        mostChunks: request.mostChunks,
        mostBytes: request.mostBytes,
        holding: request.holding ?? 0,
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

  settle(
    part: PartName & { readonly hash: string },
    claimId: string,
    commit: {
      readonly chunks: readonly SettledChunk[]
      readonly runs: readonly Run[]
      readonly retries: readonly Retry[]
      /** Measured nanoseconds a task; 0 when unknown. */
      readonly paceNs: number
    },
  ) {
    const moreArgs: (string | number | Buffer)[] = []
    for (const { first, attempt, done } of commit.chunks) moreArgs.push(first, attempt, done)
    for (const run of commit.runs) moreArgs.push(run.first, run.count, run.kind, encodeRunValue(run))
    for (const { delayMs, element } of commit.retries) moreArgs.push(Math.round(delayMs), element)
    const { job, incarnation } = part
    return traceCommit({ claim: claimId, job, incarnation, runs: commit.runs }, () =>
      this.#run(settle, {
        keys: {
          ...this.#partKeys(job),
          ...this.#codeKeys(part.hash),
          ...this.keys,
          claim: claimKey(this.lane, claimId),
        },
        args: {
          job,
          incarnation,
          pace: commit.paceNs.toFixed(1),
          channelPrefix: this.#channelPrefix(),
          inlineBytes,
          chunkCount: commit.chunks.length,
          runCount: commit.runs.length,
          retryCount: commit.retries.length,
        },
        moreArgs,
      }),
    )
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
    chunk: { readonly first: number; readonly attempt: number; readonly keep: number },
  ) {
    return this.#run(split, {
      keys: {
        ...this.#partKeys(part.job),
        ...this.#codeKeys(part.hash),
        ...this.keys,
        claim: claimKey(this.lane, claimId),
      },
      args: { job: part.job, incarnation: part.incarnation, ...chunk },
    })
  }

  carryOver(
    fromClaim: string,
    toClaim: string,
    running: readonly { readonly job: string; readonly first: number; readonly attempt: number }[],
  ) {
    return this.#run(carryOver, {
      keys: { from: claimKey(this.lane, fromClaim), to: claimKey(this.lane, toClaim) },
      args: {},
      moreArgs: running.map(({ job, first, attempt }) => `${job} ${first} ${attempt}`),
    })
  }

  /** What a claim holds, oldest first, with payloads. For a claim of our own: it holds a batch. */
  async readClaim(claimId: string): Promise<Buffer[]> {
    const key = claimKey(this.lane, claimId)
    return (await this.read([{ key, kind: 'list' }], () => this.client.lrangeBuffer(key, 0, -1))).reverse()
  }

  /** The job's encoded shared value, or null when there is none. */
  readShared(job: string): Promise<Buffer | null> {
    const { shared } = partKeys(this.lane, job)
    return this.read([{ key: shared, kind: 'string' }], () => this.client.getBuffer(shared))
  }

  /** Stores a thread's answer to a broadcast under `field`, `<worker>/<thread>`, and tells whoever asked. */
  answer(
    broadcast: string,
    field: string,
    reply: { readonly answer: Buffer; readonly keepMs: number; readonly replyChannel: string },
  ) {
    return this.#run(answer, {
      keys: { broadcast: broadcastKey(this.lane, broadcast) },
      args: { thread: field, ...reply, message: encodeAnswered(broadcast, field) },
    })
  }

  /** Keeps the evidence of a quarantined task whose failure is committed, with a chunk that would run it again. */
  noteQuarantine(job: string, index: number, evidence: string, element: Buffer) {
    return this.#run(noteQuarantine, {
      keys: { quarantine: this.keys.quarantine },
      args: { task: `${job}:${index}`, evidence: Buffer.concat([Buffer.from(`${evidence}\n`), element]) },
    })
  }

  /** Puts a quarantined task back in line, if nobody has seen its failure. `collector`: who was found not to listen. */
  retryQuarantined(part: { readonly job: string; readonly hash: string; readonly collector: string }, index: number) {
    return this.#run(retryQuarantined, {
      keys: { ...this.#partKeys(part.job), ...this.#codeKeys(part.hash), ...this.keys },
      args: { job: part.job, index, collector: part.collector },
    })
  }

  /** How many connections listen as this collector. Each server only knows of its own. */
  async listeners(servers: readonly Redis[], collector: string): Promise<number> {
    const channel = `${this.#channelPrefix()}${collector}`
    const counts = await Promise.all(servers.map(server => server.call('pubsub', ['numsub', channel])))
    return counts.reduce<number>((sum, reply) => sum + (Array.isArray(reply) ? Number(reply[1]) : 0), 0)
  }

  /** The header lines of what a claim holds, oldest first. */
  peekClaim(claimId: string) {
    return this.#run(peekClaim, { keys: { claim: claimKey(this.lane, claimId) }, args: {} })
  }

  /** The header lines of a page of a part's waiting and delayed chunks. */
  peekChunks(job: string, from: number, count: number) {
    return this.#run(peekChunks, { keys: this.#partKeys(job), args: { from, count } })
  }

  /** The header lines of what stands on a stage, oldest first, at most 256. */
  peekStage(hash: string) {
    return this.#run(peekClaim, { keys: { claim: codeKeys(this.lane, hash).stage }, args: {} })
  }

  // Workers -----------------------------------------------------------------------------------------------------------

  register(
    worker: string,
    registration: { readonly leaseMs: number; readonly info: string; readonly claims: readonly string[] },
  ) {
    return this.#run(register, {
      keys: { ...this.keys, ...workerKeys(this.lane, worker) },
      args: { worker, leaseMs: registration.leaseMs, info: registration.info, control: this.#control() },
      moreArgs: registration.claims,
    })
  }

  heartbeat(worker: string, beat: { readonly leaseMs: number; readonly threads: number; readonly stats: string }) {
    return this.#run(heartbeat, {
      keys: { ...this.keys, ...workerKeys(this.lane, worker) },
      args: { worker, ...beat },
    })
  }

  enroll(worker: string, claimId: string) {
    return this.#run(enroll, {
      keys: { ...this.keys, ...workerKeys(this.lane, worker) },
      args: { worker, claim: claimId },
    })
  }

  retireClaim(worker: string, claimId: string, hash: string) {
    return this.#run(retireClaim, {
      keys: {
        claim: claimKey(this.lane, claimId),
        claims: workerKeys(this.lane, worker).claims,
        waiting: codeKeys(this.lane, hash).waiting,
        retired: this.keys.retired,
      },
      args: { claim: claimId },
    })
  }

  leave(worker: string, claims: readonly string[]) {
    return this.#run(leave, {
      keys: { ...this.keys, ...workerKeys(this.lane, worker) },
      args: { worker, control: this.#control() },
      moreKeys: claims.map(claimId => claimKey(this.lane, claimId)),
    })
  }

  /** The queue's lanes that are known here; none in a queue of one lane. */
  async readLanes(): Promise<number[]> {
    return decodeLanes((await this.client.hget(this.keys.lane, 'lanes')) ?? '')
  }

  /** Makes these lanes of the queue known here, and resolves with all that are: see the script. */
  agreeLanes(lanes: readonly number[]): Promise<number[]> {
    return runScript(this.client, agreeLanes, { keys: { lane: this.keys.lane }, args: { lanes: lanes.join(',') } })
  }

  // Recovery ----------------------------------------------------------------------------------------------------------

  /** Declares lapsed workers dead, and lists those that are dead and not yet buried. */
  declareDead(leaseMs: number) {
    return this.#run(declareDead, { keys: this.keys, args: { leaseMs } })
  }

  bury(worker: string, claims: readonly string[]) {
    return this.#run(bury, {
      keys: { ...this.keys, ...workerKeys(this.lane, worker) },
      args: { worker },
      moreKeys: claims.map(claimId => claimKey(this.lane, claimId)),
    })
  }

  /** The ids of a worker's claims. */
  claimsOf(worker: string): Promise<string[]> {
    const { claims } = workerKeys(this.lane, worker)
    return this.read([{ key: claims, kind: 'set' }], () => this.client.smembers(claims))
  }

  /** The code hash that a job needs, or undefined when there is no such part or it is cancelled. */
  async hashOf(job: string): Promise<string | undefined> {
    const { part } = partKeys(this.lane, job)
    return (await this.read([{ key: part, kind: 'part' }], () => this.client.hget(part, 'hash'))) ?? undefined
  }

  /** What decides whether an open part is in line: its code hash, and whether it has waiting tasks; undefined when it is gone. */
  async lineOf(job: string): Promise<{ readonly hash: string; readonly hasWaiting: boolean } | undefined> {
    const { part } = partKeys(this.lane, job)
    const [hash, state, waiting] = await this.read([{ key: part, kind: 'part' }], () =>
      this.client.hmget(part, 'hash', 'state', 'waiting'),
    )
    return hash == null ? undefined : { hash, hasWaiting: state === 'open' && Number(waiting) > 0 }
  }

  /** Forgets a job whose part is gone. */
  forget(job: string, hash: string) {
    return this.#run(forget, {
      keys: { ...this.#partKeys(job), ...this.keys, ready: codeKeys(this.lane, hash).ready },
      args: { job },
    })
  }

  promote(job: string, hash: string) {
    return this.#run(promote, {
      keys: { ...this.#partKeys(job), ...this.#codeKeys(hash), ...this.keys },
      args: { job },
    })
  }

  park(job: string, hash: string) {
    return this.#run(park, {
      keys: { ...this.#partKeys(job), ...this.keys, ready: codeKeys(this.lane, hash).ready },
      args: { job },
    })
  }

  // -------------------------------------------------------------------------------------------------------------------

  /**
   * Reads keys, or blocks on them. Where something else stands in one than must, that is cleared away, and it is read
   * again: what is not there is what every reader can cope with.
   */
  async read<T>(keys: readonly KindOfKey[], read: () => Promise<T>): Promise<T> {
    try {
      return await read()
    } catch (error) {
      if (!isDamage(error) || (await this.mend(keys)) === 0) throw error
      return read()
    }
  }

  /** Clears away what must not be in these keys. Resolves with how many were deleted. */
  mend(keys: readonly KindOfKey[]): Promise<number> {
    return mendKeys(this.client, this.keys.malformed, keys)
  }

  /** Takes members that are no names out of one of the lane's sorted sets. */
  expel(set: string, members: readonly Buffer[]): Promise<number> {
    return this.#run(expel, { keys: { set, malformed: this.keys.malformed }, args: {}, moreArgs: members })
  }

  /**
   * Runs a script. When it stumbles over something that is none of ours, that is cleared away; the script is not run
   * again, because it may have come half its way: every caller tries again in its own manner.
   */
  async #run<K extends string, A extends string, R>(script: Script<K, A, R>, call: ScriptCall<K, A>): Promise<R> {
    try {
      return await runScript(this.client, script, call)
    } catch (error) {
      if (isDamage(error)) await this.mend(kindsOf(script, call.keys, call.moreKeys))
      throw error
    }
  }

  #giveBack(job: string, hash: string, claimId: string, args: GiveBackArguments, kept: readonly string[]) {
    return this.#giveBackFrom(claimKey(this.lane, claimId), job, hash, args, kept)
  }

  #giveBackFrom(list: string, job: string, hash: string, args: GiveBackArguments, kept: readonly string[]) {
    return this.#run(giveBack, {
      keys: { ...this.#partKeys(job), ...this.#codeKeys(hash), ...this.keys, claim: list },
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
