import type { Redis } from 'ioredis'
import { MalformedDataError } from '../errors.ts'
import type { HeldPayload } from '../protocol/chunk.ts'
import { codeKeys, partKeys } from '../protocol/keys.ts'
import { counterFields, decodeCounters, decodePartRecord, partFieldArguments } from '../protocol/records.ts'
import type { PartBeginning, PartCounters, PartFields, PartRecord } from '../protocol/records.ts'
import { cancelTask } from '../protocol/scripts/cancel-task.ts'
import { attach, drop, release, renewDriver } from '../protocol/scripts/collect.ts'
import { enlist } from '../protocol/scripts/enlist.ts'
import { scanResults } from '../protocol/scripts/scan-results.ts'
import { submit } from '../protocol/scripts/submit.ts'
import { LaneAccess } from './lane-access.ts'
import { PreparedScript, PreparedScripts } from './prepared-script.ts'
import type { PartName } from './lane-access.ts'
import { traceSubmit } from './trace.ts'

type SubmittedPart = PartName & { readonly hash: string; readonly collector: string }

/** Where a run is: its field in the results Hash, by its first task, and in the payloads if it is held there. */
interface StoredRun {
  readonly first: number
  readonly held?: string
}

/** Consecutive tasks of a part, as one call submits them. */
interface SubmitBatch {
  readonly from: number
  readonly to: number
  readonly complete: boolean
  readonly elements: readonly Buffer[]
  /** The payloads of those elements that are held chunks. */
  readonly held?: readonly HeldPayload[]
  /** How many of the tasks come without chunks, because their results are collected already, or they never were tasks. */
  readonly skipped: number
  /** How many never were tasks. */
  readonly taskless: number
  readonly driverLeaseMs: number
  /** The part's record, when this call may create it. */
  readonly create?: (PartFields & PartBeginning) | undefined
  /** The encoded shared value, which goes along with `create`. */
  readonly shared?: Buffer | undefined
}

/** What drivers do with the part of a job: submit, collect, release, drop. */
export class PartStore extends LaneAccess {
  readonly #submits = new PreparedScripts<ReturnType<typeof submit.parse>>()

  submit(part: SubmittedPart, batch: SubmitBatch) {
    const { job, incarnation } = part
    const { from, to } = batch
    return traceSubmit({ job, incarnation, from, to }, () => this.#submit(part, batch))
  }

  #submit(part: SubmittedPart, batch: SubmitBatch) {
    const { from, to, skipped, taskless, elements, held = [], create, driverLeaseMs } = batch
    const { job, incarnation, collector, hash } = part
    const prepare = () => {
      const keys = { ...partKeys(this.lane, job), ...codeKeys(this.lane, hash), ...this.keys }
      return PreparedScript.of(submit, keys, [job, incarnation, collector, String(driverLeaseMs)])
    }
    const name = `${incarnation} ${collector} ${driverLeaseMs} ${job} ${hash}`
    // A part is created once.
    const prepared = create === undefined ? this.#submits.get(name, prepare) : prepare()
    const fields = create === undefined ? [] : partFieldArguments(create).map(field => Buffer.from(field))
    const shared = create === undefined || batch.shared === undefined ? [] : [batch.shared]
    const counts = [from, to, skipped, taskless, batch.complete ? 1 : 0, fields.length, shared.length, held.length]
    const rest = [...counts, ...fields, ...shared, ...held.map(({ field }) => field), ...elements]
    return this.runPrepared(prepared, rest, held)
  }

  /**
   * The part's record before the call's own changes are seen by others; undefined when Redis knows no such job, or another
   * collector than `from` has it.
   */
  async attach(
    job: string,
    collector: string,
    driverLeaseMs: number,
    hash: string,
    from = '',
  ): Promise<PartRecord | undefined> {
    const record = await this.run(attach, {
      keys: { ...partKeys(this.lane, job), ...codeKeys(this.lane, hash), ...this.keys },
      args: { job, collector, driverLeaseMs, channelPrefix: this.channelPrefix(), from },
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
    return this.run(scanResults, {
      keys: partKeys(this.lane, job),
      args: { cursor, count: 256 },
    })
  }

  /** What the results Hash, or the payloads, have for these runs; null for those that are gone. */
  async readResults(job: string, runs: readonly StoredRun[]): Promise<(Buffer | null)[]> {
    const { results, payloads } = partKeys(this.lane, job)
    const isHeld = (run: StoredRun) => run.held !== undefined
    const [values, held] = await Promise.all([
      this.#readFields(
        results,
        runs.filter(run => !isHeld(run)).map(({ first }) => String(first)),
      ),
      this.#readFields(
        payloads,
        runs.flatMap(run => run.held ?? []),
      ),
    ])
    return runs.map(run => (isHeld(run) ? held : values).shift() ?? null)
  }

  async #readFields(key: string, fields: readonly string[]): Promise<(Buffer | null)[]> {
    if (fields.length === 0) return []
    return this.read([{ key, kind: 'hash' }], () => this.client.hmgetBuffer(key, ...fields))
  }

  /** The job's encoded shared value, or null when there is none. */
  readShared(job: string): Promise<Buffer | null> {
    const { shared } = partKeys(this.lane, job)
    return this.read([{ key: shared, kind: 'string' }], () => this.client.getBuffer(shared))
  }

  release(
    part: PartName & { readonly collector: string },
    released: {
      readonly runs: readonly (StoredRun & { readonly count: number })[]
      /** How far an ordered consumer is. */
      readonly cursor?: number | undefined
      /** What it has reduced up to there. */
      readonly accumulator?: Buffer | undefined
      /** For what threads combine: where the last release left it. The runs are all that came since. */
      readonly from?: number | undefined
    },
  ) {
    const { part: partKey, results, payloads } = partKeys(this.lane, part.job)
    return this.run(release, {
      keys: { part: partKey, results, payloads },
      args: {
        incarnation: part.incarnation,
        collector: part.collector,
        cursor: released.cursor ?? -1,
        accumulator: released.accumulator ?? '',
        from: released.from ?? '',
      },
      moreArgs: released.runs.flatMap(({ first, count, held = '' }) => [first, count, held]),
    })
  }

  renewDriver(jobs: readonly string[], driverLeaseMs: number) {
    return this.run(renewDriver, {
      keys: { driven: this.keys.driven },
      args: { driverLeaseMs },
      moreArgs: jobs,
    })
  }

  /** Puts a part back where it must be found, if it is not there. `driverLeaseMs`: 0 for one that needs no driver. */
  enlist(job: string, hash: string, driverLeaseMs: number) {
    return this.run(enlist, {
      keys: { ...partKeys(this.lane, job), ...codeKeys(this.lane, hash), ...this.keys },
      args: { job, driverLeaseMs },
    })
  }

  /** Forgets the job. With an empty `collector` it is a cancellation by somebody else, and leaves a mark for a minute; so does the end of a job that was attached to, for an hour. */
  drop(part: PartName & { readonly collector: string; readonly hash: string }) {
    return this.run(drop, {
      keys: { ...partKeys(this.lane, part.job), ...codeKeys(this.lane, part.hash), ...this.keys },
      args: {
        job: part.job,
        incarnation: part.incarnation,
        collector: part.collector,
        channelPrefix: this.channelPrefix(),
        tombstoneMs: part.collector === '' ? 60_000 : 3_600_000,
      },
    })
  }

  /** Takes one task that waits out of its job, with this outcome. 'elsewhere': it does not wait any more. */
  cancelTask(part: PartName, index: number, failure: Buffer) {
    return this.run(cancelTask, {
      keys: partKeys(this.lane, part.job),
      args: { job: part.job, incarnation: part.incarnation, index, channelPrefix: this.channelPrefix(), failure },
    })
  }

  /** How many connections listen as this collector. Each server only knows of its own. */
  async listeners(servers: readonly Redis[], collector: string): Promise<number> {
    const channel = `${this.channelPrefix()}${collector}`
    const counts = await Promise.all(servers.map(server => server.call('pubsub', ['numsub', channel])))
    return counts.reduce<number>((sum, reply) => sum + (Array.isArray(reply) ? Number(reply[1]) : 0), 0)
  }
}
