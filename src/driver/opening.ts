import { setImmediate as turnEnd } from 'node:timers/promises'
import { JobConflictError, JobNotFoundError } from '../errors.ts'
import type { PartFields, PartRecord } from '../protocol/records.ts'
import type { LaneStore } from '../store/lane-store.ts'
import { CallFeeder } from './call-feeder.ts'
import { DrivenJob } from './driven-job.ts'
import { ListFeeder, nothingToFeed, RangeFeeder } from './feeder.ts'
import type { Feeder } from './feeder.ts'
import { collectorReplaced, jobCancelled } from './job-errors.ts'
import type { InputSource } from './input-source.ts'
import type { Link } from './link.ts'
import { makeRecord } from './make-record.ts'
import { matchCode } from './code-match.ts'
import { driverLeaseMs, Part } from './part.ts'
import { Range } from './range.ts'

/** What of a connection is needed to open jobs on it. */
export interface OpeningContext {
  readonly link: Link
  /** The hash of the driver's own task module, where it was given one. */
  readonly ownHash: string | undefined
}

/** A job as the user asked for it. */
export interface JobRequest {
  readonly id: string
  /** Whether the user chose the id, so that the job may be there already. */
  readonly named: boolean
  readonly task: string
  readonly priority: number
  readonly detached: boolean
  readonly keepMs: number
  readonly shared: Buffer | undefined
  readonly inputs: InputSource | Range | CallFeeder
  /** The reducer for the workers, or '': asked at the end of the turn. */
  reducer(): string
}

/** A job that is about to begin, and what will feed it. */
interface OpenedJob {
  readonly job: DrivenJob
  readonly feeder: Feeder
}

/**
 * The way from a request to a job that is driven: the end of the turn (a `reduce` may follow the `map`), the code that
 * workers have, what is there under the id. It may take long, and can be ended meanwhile.
 */
export class Opening {
  readonly id: string
  /** Rejects with what ended it before it was open. */
  readonly opened: Promise<DrivenJob>
  /** Why it is not open yet, in words. */
  waitingFor: string | undefined
  #job: DrivenJob | undefined
  #ended: { readonly error: unknown } | undefined
  /** What is done to a job that has come to be all the same, since the last step was under way. */
  #endLate: ((job: DrivenJob) => Promise<void>) | undefined
  #consumer: Promise<unknown> | undefined
  #interrupt: (error: Error) => void = () => undefined

  constructor(id: string, open: (opening: Opening) => Promise<OpenedJob>) {
    this.id = id
    const interrupted = new Promise<never>((_resolve, reject) => {
      this.#interrupt = reject
    })
    this.opened = Promise.race([interrupted, open(this).then(opened => this.#begin(opened))])
    // Whoever consumes the job gets the error; nobody needs to.
    this.opened.catch((error: unknown) => {
      this.#ended ??= { error }
    })
  }

  get job(): DrivenJob | undefined {
    return this.#job
  }

  /** Whether it has ended without a job. */
  get ended(): boolean {
    return this.#ended !== undefined
  }

  /** For whoever opens it, before each step that others see. */
  throwIfEnded(): void {
    if (this.#ended !== undefined) throw this.#ended.error
  }

  /** What the consumer gets. */
  consumed<T>(result: Promise<T>): Promise<T> {
    this.#consumer = result
    return result
  }

  /** Cancels the job, opened or not. */
  cancel(error: Error = jobCancelled(this.id)): Promise<void> {
    return this.#end(error, job => job.cancel(error))
  }

  /** The connection closes. `error`: what is said when the job is not open. */
  close(error: Error): Promise<void> {
    return this.#end(error, job => job.close())
  }

  async #end(error: Error, endJob: (job: DrivenJob) => Promise<void>): Promise<void> {
    // That its consumer then rejects must not end the process if nobody listens just now: the user knows.
    this.#consumer?.catch(() => undefined)
    if (this.#job !== undefined) await endJob(this.#job)
    else if (this.#ended === undefined) {
      this.#ended = { error }
      this.#endLate = endJob
      this.#interrupt(error)
    }
  }

  #begin({ job, feeder }: OpenedJob): DrivenJob {
    this.#endLate?.(job).catch(() => undefined)
    this.#job = job
    job.begin(feeder)
    return job
  }
}

/** Opens a new job, or resumes the one that has its id. */
export function openJob(context: OpeningContext, request: JobRequest): Opening {
  const { id, named, task, inputs } = request
  const opening = new Opening(id, async opening => {
    await turnEnd()
    const hash = await findHash(context, task, opening)
    const fields = fieldsOf(request, hash)
    opening.throwIfEnded()
    const { link } = context
    const { lanes } = link
    // A job without a name of its own is new, and needs no look around.
    const store = named ? await link.ask(() => lanes.find(id, { reachable: true })) : lanes.forNewJob(id)
    const record = named ? await findOrMake(context, store, request, fields, opening) : undefined
    return drive(context, store, request, fields, record)
  })
  opening.opened.catch(() => {
    if ('close' in inputs) inputs.close()
  })
  return opening
}

/** Attaches to a job that another driver, or this one, has made. @throws {JobNotFoundError | JobConflictError} */
export function attachJob({ link }: OpeningContext, id: string, task: string | undefined): Opening {
  const { lanes, token } = link
  return new Opening(id, async opening => {
    const store = await link.ask(() => lanes.find(id))
    const found = await link.ask(() => store.parts.readPart(id))
    if (found === undefined || found.state === 'cancelled') throw notFound(id)
    if (task !== undefined && found.task !== task) {
      throw new JobConflictError(
        `The job ${id} runs the task ${JSON.stringify(found.task)}, not ${JSON.stringify(task)}. Attach to it with that task.`,
      )
    }
    opening.throwIfEnded()
    const record = await attach(link, store, found.hash, opening)
    if (record === undefined || record.state === 'cancelled') throw notFound(id)
    const part = new Part(id, token, record, { incarnation: record.incarnation, attaches: record.attaches })
    const job = new DrivenJob(link, { part, store, named: true, record })
    const rest = record.kind === 'range' && !record.complete
    const feeder = rest
      ? new RangeFeeder(new Range(record.start, record.step, record.total), job, record.detached)
      : nothingToFeed
    return { job, feeder }
  })
}

/** Waits, if it must, for a worker that says which code the task has. Quick where that was found before; '' when the waiter has ended. */
export async function findHash(
  { link, ownHash }: OpeningContext,
  task: string,
  waiter: { readonly ended: boolean; waitingFor: string | undefined },
): Promise<string> {
  const { fleet } = link
  const matched = fleet.matched.get(task)
  if (matched !== undefined) return matched
  while (!waiter.ended) {
    const match = matchCode(task, ownHash, fleet.known ?? (await link.ask(() => fleet.read())))
    if ('hash' in match) {
      fleet.matched.set(task, match.hash)
      return match.hash
    }
    waiter.waitingFor = match.waitFor
    await fleet.change()
  }
  return ''
}

function fieldsOf(request: JobRequest, hash: string): PartFields {
  const { task, priority, detached, keepMs, inputs } = request
  const isRange = inputs instanceof Range
  return {
    task,
    hash,
    kind: isRange ? 'range' : 'list',
    start: isRange ? inputs.start : 0,
    step: isRange ? inputs.step : 1,
    total: isRange ? inputs.length : -1,
    priority,
    detached,
    reducer: request.reducer(),
    shared: request.shared !== undefined,
    keepMs,
  }
}

/** The job that has the id: made now, or attached to. */
async function findOrMake(
  context: OpeningContext,
  store: LaneStore,
  request: JobRequest,
  fields: PartFields,
  opening: Opening,
): Promise<PartRecord> {
  const { link } = context
  for (;;) {
    opening.throwIfEnded()
    const record = await findExisting(context, store, request, fields, opening)
    if (record !== undefined) return record
    const part = new Part(request.id, link.token, fields, { shared: request.shared })
    if (!(await makeRecord(store.parts, part, link.paces.of(fields), opening))) continue
    // Not attached to: whoever has done that since has replaced this driver.
    const made = await link.ask(() => store.parts.readPart(request.id))
    if (made?.incarnation !== part.incarnation) continue
    if (made.collector !== link.token) throw collectorReplaced(request.id)
    return made
  }
}

async function findExisting(
  { link }: OpeningContext,
  store: LaneStore,
  request: JobRequest,
  fields: PartFields,
  opening: Opening,
): Promise<PartRecord | undefined> {
  const { id } = request
  const found = await link.ask(() => store.parts.readPart(id))
  if (found === undefined || found.state === 'cancelled') return undefined
  const differs = (['task', 'hash', 'kind', 'start', 'step', 'total'] as const).find(
    field => found[field] !== fields[field],
  )
  if (differs !== undefined) {
    const word = differs === 'hash' ? 'code' : differs
    throw new JobConflictError(
      `A job with the id ${id} exists with another ${word} (${found[differs]}, not ${fields[differs]}). Choose another id, or attach to that job.`,
    )
  }
  const record = await attach(link, store, fields.hash, opening)
  return record?.state === 'cancelled' ? undefined : record
}

/** Makes this driver the collector. Undefined when the job is gone by now. */
function attach(link: Link, store: LaneStore, hash: string, opening: Opening): Promise<PartRecord | undefined> {
  const { id } = opening
  // It may collect the job already: what that one still released would be missing in the reply, and be looked for.
  link.replace(id)
  return link.ask(() => store.parts.attach(id, link.token, driverLeaseMs, hash), opening)
}

function drive(
  { link }: OpeningContext,
  store: LaneStore,
  request: JobRequest,
  fields: PartFields,
  record: PartRecord | undefined,
): OpenedJob {
  const { id, named, shared } = request
  const part = new Part(id, link.token, record ?? fields, {
    shared,
    ...(record === undefined ? {} : { incarnation: record.incarnation, attaches: record.attaches }),
  })
  const job = new DrivenJob(link, { part, store, named, record })
  return { job, feeder: feederFor(job, request.inputs) }
}

function feederFor(job: DrivenJob, inputs: JobRequest['inputs']): Feeder {
  const { record } = job
  if (inputs instanceof CallFeeder) return inputs.for(job, record?.submitted)
  if (record?.complete === true) {
    if (!(inputs instanceof Range)) inputs.close()
    return nothingToFeed
  }
  if (inputs instanceof Range) return new RangeFeeder(inputs, job, job.part.fields.detached)
  return new ListFeeder(inputs, job, record?.submitted ?? 0)
}

function notFound(id: string): JobNotFoundError {
  return new JobNotFoundError(
    `There is no job with the id ${id} in this queue: it never was, was cancelled, has been collected, or has expired. See what there is with millrace jobs, or submit it again.`,
  )
}
