import type { Task } from '../code/task.ts'
import { isTask } from '../code/task.ts'
import { UsageError } from '../errors.ts'
import { checkJobId, randomName } from '../protocol/names.ts'
import { encodeValue } from '../protocol/values.ts'
import { readDurability } from '../store/inspect/durability.ts'
import { takeSnapshot } from '../store/inspect/snapshot.ts'
import { broadcast } from './broadcast.ts'
import { CallHandle, Calls } from './calls.ts'
import { SubmittedAt } from './errors-from-wire.ts'
import { connectionClosed, jobCancelled } from './job-errors.ts'
import { inputSource } from './input-source.ts'
import { onInterrupt } from './interrupt.ts'
import { AsTheyComeJob, OrderedJob } from './job.ts'
import type { ReducerChoice } from './job.ts'
import type { Link } from './link.ts'
import { attachJob, openJob } from './opening.ts'
import type { Opening, OpeningContext } from './opening.ts'
import { isRange } from './range.ts'
import type {
  BroadcastAnswer,
  DurabilityReport,
  Handle,
  InputArguments,
  Inputs,
  Job,
  MapOptions,
  Mill,
  SnapshotReport,
  SubmitOptions,
  UnorderedJob,
  WorkerView,
} from './types.ts'

/** What a connection is made of, besides its link. */
export interface MillParts {
  readonly link: Link
  readonly ownHash: string | undefined
  /** What has to end after the jobs have: the local worker, the embedded Redis. In this order. */
  readonly ends: readonly (() => Promise<void>)[]
}

const dayMs = 24 * 60 * 60 * 1000
const snapshotTimeoutMs = 10 * 60 * 1000
const broadcastTimeoutMs = 10_000
/** How long closing may take to say goodbye to Redis. */
const goodbyeMs = 2000

/** The public connection. Checks what the user gives; the work is done elsewhere. */
export class ConnectedMill implements Mill {
  readonly #parts: MillParts
  readonly #context: OpeningContext
  readonly #calls: Calls
  readonly #openings = new Set<Opening>()
  readonly #stopInterrupts: () => void
  #closing: Promise<void> | undefined

  constructor(parts: MillParts) {
    this.#parts = parts
    this.#context = parts
    this.#calls = new Calls(parts, (id, task, named, opening) => {
      this.#watch(opening)
      if (named) announce(id, task)
    })
    this.#stopInterrupts = onInterrupt(() => this.close())
  }

  async run<I, O, S>(task: Task<I, O, S>, ...[input, options]: InputArguments<I, SubmitOptions>): Promise<O> {
    const { kind, signal, refusal } = this.#check(task, options)
    if (refusal !== undefined) throw refusal
    return (await this.#calls.run(kind, input, entryOf('run'), signal)) as O
  }

  submit<I, O, S>(task: Task<I, O, S>, ...[input, options]: InputArguments<I, SubmitOptions>): Handle<O> {
    const { kind, signal, refusal } = this.#check(task, options)
    if (refusal === undefined) return this.#calls.submit(kind, input, entryOf('submit'), signal) as Handle<O>
    const rejected = Promise.reject(refusal)
    rejected.catch(ignore)
    return new CallHandle(kind.id ?? 'never', rejected, () => Promise.resolve()) as Handle<O>
  }

  map<I, O, S>(
    task: Task<I, O, S>,
    inputs: Inputs<I>,
    options: MapOptions<S> & { readonly ordered: false },
  ): UnorderedJob<O>
  map<I, O, S>(task: Task<I, O, S>, inputs: Inputs<I>, options?: MapOptions<S>): Job<O>
  map<I, O, S>(task: Task<I, O, S>, inputs: Inputs<I>, options: MapOptions<S> = {}): Job<O> | UnorderedJob<O> {
    this.#mustBeOpen()
    const name = nameOf(task)
    const { signal, ordered = true, detached = false, shared, keepMs = dayMs } = options
    if (!(keepMs >= 1000 && keepMs <= 365 * dayMs))
      throw new UsageError(`keepMs can't be ${keepMs}: give milliseconds, from a second to a year.`)
    const id = options.id === undefined ? randomName(10) : checkJobId(options.id)
    const choice: ReducerChoice = { name: '', open: true }
    const opening = openJob(this.#context, {
      id,
      named: options.id !== undefined,
      task: name,
      priority: priorityOf(options),
      detached,
      keepMs: Math.round(keepMs),
      shared: shared === undefined ? undefined : encodeValue(shared),
      inputs: isRange(inputs) ? inputs : inputSource(checkInputs(inputs)),
      reducer: () => {
        choice.open = false
        return choice.name
      },
    })
    this.#watch(opening)
    announce(id, name)
    cancelOn(signal, opening)
    const parts = { opening, submittedAt: new SubmittedAt(entryOf('map')), link: this.#parts.link }
    return ordered ? new OrderedJob<O>(parts, choice) : new AsTheyComeJob<O>(parts, choice)
  }

  async broadcast<I, O, S>(
    task: Task<I, O, S>,
    ...[input, options]: InputArguments<I, { readonly timeoutMs?: number }>
  ): Promise<BroadcastAnswer<O>[]> {
    this.#mustBeOpen()
    const { timeoutMs = broadcastTimeoutMs } = options ?? {}
    if (!(timeoutMs > 0)) throw new UsageError(`timeoutMs can't be ${timeoutMs}: give milliseconds.`)
    return (await broadcast(this.#context, {
      task: nameOf(task),
      input: encodeValue(input),
      timeoutMs,
    })) as BroadcastAnswer<O>[]
  }

  attach(id: string): Promise<Job<unknown>>
  attach<I, O, S>(id: string, task: Task<I, O, S>): Promise<Job<O>>
  async attach<I, O, S>(id: string, task?: Task<I, O, S>): Promise<Job<O>> {
    this.#mustBeOpen()
    checkJobId(id)
    const submittedAt = new SubmittedAt(entryOf('attach'))
    const opening = attachJob(this.#context, id, task === undefined ? undefined : nameOf(task))
    this.#watch(opening)
    await opening.opened
    return new OrderedJob<O>({ opening, submittedAt, link: this.#parts.link }, { name: '', open: false })
  }

  async workers(): Promise<WorkerView[]> {
    this.#mustBeOpen()
    const { link } = this.#parts
    return [...(await link.ask(() => link.fleet.read()))]
  }

  async snapshot(): Promise<SnapshotReport> {
    this.#mustBeOpen()
    return this.#parts.link.lanes.withServers(servers => takeSnapshot(servers, { timeoutMs: snapshotTimeoutMs }))
  }

  async durability(): Promise<DurabilityReport> {
    this.#mustBeOpen()
    return this.#parts.link.lanes.withServers(readDurability)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    this.#stopInterrupts()
    const { link, ends } = this.#parts
    const goodbyes = Promise.allSettled([...this.#openings].map(opening => opening.close(connectionClosed())))
    let timer: NodeJS.Timeout | undefined
    await Promise.race([goodbyes, new Promise(resolve => (timer = setTimeout(resolve, goodbyeMs)))])
    clearTimeout(timer)
    await link.stop(goodbyeMs)
    for (const end of ends) await end()
  }

  /** `refusal`: it is cancelled already. */
  #check(task: unknown, options: SubmitOptions | undefined) {
    this.#mustBeOpen()
    const name = nameOf(task)
    if (options === undefined) return { kind: { task: name, priority: 0, id: undefined }, signal: undefined }
    const { signal, id } = options
    const kind = { task: name, priority: priorityOf(options), id: id === undefined ? undefined : checkJobId(id) }
    const refusal = signal?.aborted === true ? jobCancelled(id ?? name, signal.reason) : undefined
    return { kind, signal, refusal }
  }

  #watch(opening: Opening): void {
    this.#openings.add(opening)
    const forget = () => this.#openings.delete(opening)
    opening.opened.then(job => {
      job.onEnd(forget)
    }, forget)
  }

  #mustBeOpen(): void {
    if (this.#closing !== undefined) throw connectionClosed()
  }
}

/** The public method where the user's trace begins. */
function entryOf(name: 'run' | 'submit' | 'map' | 'attach'): (...args: never[]) => unknown {
  return Reflect.get(ConnectedMill.prototype, name) as (...args: never[]) => unknown
}

/** The result says what became of it. */
function ignore(): void {
  return undefined
}

function nameOf(task: unknown): string {
  if (isTask(task)) return task.name
  throw new UsageError(
    `What was given is not a task (it is ${task === null ? 'null' : `of type ${typeof task}`}): pass what task() returned, as exported by your task module.`,
  )
}

function checkInputs<I>(inputs: Inputs<I>): Inputs<I> {
  const given: unknown = inputs
  if (typeof given === 'object' && given !== null && (Symbol.iterator in given || Symbol.asyncIterator in given))
    return inputs
  throw new UsageError(
    `The inputs of map() can't be ${given === null ? 'null' : typeof given === 'string' ? 'a string, whose letters are rarely meant' : `of type ${typeof given}`}: give an array, an iterable, an async iterable or a range.`,
  )
}

function priorityOf({ priority = 0 }: SubmitOptions): number {
  if (Number.isInteger(priority) && Math.abs(priority) <= 1000) return priority
  throw new UsageError(
    `The priority can't be ${String(priority)}, since jobs are ordered by whole steps: give a whole number from -1000 to 1000.`,
  )
}

function cancelOn(signal: AbortSignal | undefined, opening: Opening): void {
  if (signal === undefined) return
  const onAbort = () => {
    const waitingFor = opening.job === undefined ? opening.waitingFor : opening.job.waitingFor
    opening.cancel(jobCancelled(opening.id, signal.reason, waitingFor)).catch(ignore)
  }
  if (signal.aborted) {
    onAbort()
    return
  }
  signal.addEventListener('abort', onAbort, { once: true })
  const done = () => {
    signal.removeEventListener('abort', onAbort)
  }
  opening.opened.then(job => {
    job.onEnd(done)
  }, done)
}

/** `millrace run` asks for the ids, so that a person can attach after a crash. */
function announce(id: string, task: string): void {
  if (process.env['MILLRACE_ANNOUNCE'] === '1') process.stderr.write(`millrace: job ${id} (${task})\n`)
}
