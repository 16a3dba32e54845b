import { setImmediate as turnEnd } from 'node:timers/promises'
import { JobConflictError, JobNotFoundError } from '../errors.ts'
import type { PartFields, PartRecord } from '../protocol/records.ts'
import type { LaneStore } from '../store/lane-store.ts'
import { CallFeeder } from './call-feeder.ts'
import { DrivenJob } from './driven-job.ts'
import { ListFeeder, nothingToFeed, RangeFeeder } from './feeder.ts'
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
  #ended: Error | undefined
  #consumer: Promise<unknown> | undefined
  #interrupt: (error: Error) => void = () => undefined
  readonly #interrupted: Promise<never>

  constructor(id: string, open: (opening: Opening) => Promise<DrivenJob>) {
    this.id = id
    this.#interrupted = new Promise((_resolve, reject) => {
      this.#interrupt = reject
    })
    this.#interrupted.catch(() => undefined)
    this.opened = Promise.race([this.#interrupted, open(this).then(job => this.#open(job))])
    // Whoever consumes the job gets the error; nobody needs to.
    this.opened.catch(() => undefined)
  }

  get job(): DrivenJob | undefined {
    return this.#job
  }

  get ended(): boolean {
    return this.#ended !== undefined
  }

  /** What the consumer gets. */
  consumed<T>(result: Promise<T>): Promise<T> {
    this.#consumer = result
    return result
  }

  /** Cancels the job, opened or not. */
  async cancel(error: Error = jobCancelled(this.id)): Promise<void> {
    this.expectEnd()
    this.end(error)
    await this.#job?.cancel(error)
  }

  /** The user is about to end the job: that its consumer then rejects must not end the process if nobody listens just now. */
  expectEnd(): void {
    this.#consumer?.catch(() => undefined)
  }

  /** Ends the opening, if it has not come to its end; an open job goes on. */
  end(error: Error): void {
    if (this.#job !== undefined || this.#ended !== undefined) return
    this.#ended = error
    this.#interrupt(error)
  }

  #open(job: DrivenJob): DrivenJob {
    // Ended while the last step was under way: what that did is undone.
    if (this.#ended !== undefined) job.cancel(this.#ended).catch(() => undefined)
    this.#job = job
    return job
  }
}

/** Opens a new job, or resumes the one that has its id. */
export function openJob(context: OpeningContext, request: JobRequest): Opening {
  return new Opening(request.id, async opening => {
    await turnEnd()
    const hash = await findHash(context, request.task, opening)
    const fields = fieldsOf(request, hash)
    const { link } = context
    const { lanes } = link
    // A job without a name of its own is new, and needs no look around.
    const store =
      request.named && !opening.ended
        ? await link.ask(() => lanes.find(request.id, { reachable: true }))
        : lanes.forNewJob(request.id)
    const record = request.named ? await findOrMake(context, store, request, fields, opening) : undefined
    return drive(context, store, request, fields, record)
  })
}

/** Attaches to a job that another driver, or this one, has made. @throws {JobNotFoundError | JobConflictError} */
export async function attachJob({ link }: OpeningContext, id: string, task: string | undefined): Promise<DrivenJob> {
  const { lanes, token } = link
  const store = await link.ask(() => lanes.find(id))
  const found = await link.ask(() => store.parts.readPart(id))
  if (found === undefined || found.state === 'cancelled') throw notFound(id)
  if (task !== undefined && found.task !== task) {
    throw new JobConflictError(
      `The job ${id} runs the task ${JSON.stringify(found.task)}, not ${JSON.stringify(task)}. Attach to it with that task.`,
    )
  }
  const record = await link.ask(() => store.parts.attach(id, token, driverLeaseMs, found.hash))
  if (record === undefined || record.state === 'cancelled') throw notFound(id)
  const part = new Part(id, token, record, { incarnation: record.incarnation, attaches: record.attaches })
  const job = new DrivenJob(link, { part, store, named: true, record })
  const rest = record.kind === 'range' && !record.complete
  job.begin(
    rest ? new RangeFeeder(new Range(record.start, record.step, record.total), job, record.detached) : nothingToFeed,
  )
  return job
}

/** Waits, if it must, for a worker that says which code the task has. Quick where that was found before. */
export async function findHash({ link, ownHash }: OpeningContext, task: string, opening?: Opening): Promise<string> {
  const { fleet } = link
  const matched = fleet.matched.get(task)
  if (matched !== undefined) return matched
  while (opening?.ended !== true) {
    const match = matchCode(task, ownHash, fleet.known ?? (await link.ask(() => fleet.read())))
    if ('hash' in match) {
      fleet.matched.set(task, match.hash)
      return match.hash
    }
    if (opening !== undefined) opening.waitingFor = match.waitFor
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

/** The job that has the id: made now, or attached to. Undefined when the opening was ended meanwhile. */
async function findOrMake(
  context: OpeningContext,
  store: LaneStore,
  request: JobRequest,
  fields: PartFields,
  opening: Opening,
): Promise<PartRecord | undefined> {
  const { link } = context
  while (!opening.ended) {
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
  return undefined
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
  const record = await link.ask(() => store.parts.attach(id, link.token, driverLeaseMs, fields.hash), opening)
  return record?.state === 'cancelled' ? undefined : record
}

function drive(
  { link }: OpeningContext,
  store: LaneStore,
  request: JobRequest,
  fields: PartFields,
  record: PartRecord | undefined,
): DrivenJob {
  const { id, named, inputs, shared } = request
  const part = new Part(id, link.token, record ?? fields, {
    shared,
    ...(record === undefined ? {} : { incarnation: record.incarnation, attaches: record.attaches }),
  })
  const job = new DrivenJob(link, { part, store, named, record })
  if (inputs instanceof CallFeeder) {
    job.begin(inputs.for(job))
  } else if (record?.complete === true) {
    if (!(inputs instanceof Range)) inputs.close()
    job.begin(nothingToFeed)
  } else if (inputs instanceof Range) {
    job.begin(new RangeFeeder(inputs, job, part.fields.detached))
  } else {
    job.begin(new ListFeeder(inputs, job, record?.submitted ?? 0))
  }
  return job
}

function notFound(id: string): JobNotFoundError {
  return new JobNotFoundError(
    `There is no job with the id ${id} in this queue: it never was, was cancelled, has been collected, or has expired. See what there is with millrace jobs, or submit it again.`,
  )
}
