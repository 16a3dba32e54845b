import { setTimeout as sleep } from 'node:timers/promises'
import { range } from 'millrace'
import type { Handle, Job, Mill, UnorderedJob } from 'millrace'
import { indexOf } from '../events.ts'
import type { Ending, JobSpec } from '../events.ts'
import type { History } from '../history.ts'
import type { LeftJob } from './settings.ts'
import { add, count, poisoned, wait, work, ballastOf } from './tasks.ts'
import type { Input } from './tasks.ts'

/** How each kind of job is made, consumed, and gone on with by another driver. Every result is written down at once. */

export interface Consumer {
  readonly mill: Mill
  readonly history: History
  /** The job can be asked for its progress from now on. */
  readonly watch: (job: Pick<Job<unknown>, 'id' | 'progress'>) => void
}

/** Makes the job and sees it through to its end, which is written down. */
export async function runJob(consumer: Consumer, id: string, spec: JobSpec): Promise<void> {
  const { mill, history } = consumer
  if (spec.workload === 'burst') {
    // Single calls: they get the id of their job themselves. Nothing has left this process before the turn is over.
    const handles = inputsOf(spec).map(input => mill.submit(work, input))
    const job = handles[0]?.id.split('/')[0] ?? ''
    history.write({ type: 'begun', job, spec })
    return conclude(history, job, gather(history, job, handles))
  }
  history.write({ type: 'begun', job: id, spec })
  return conclude(history, id, begin(consumer, id, spec))
}

/** Goes on with a job that another driver left. */
export function takeOver(consumer: Consumer, left: LeftJob): Promise<void> {
  return conclude(consumer.history, left.job, goOn(consumer, left))
}

async function conclude(history: History, job: string, ending: Promise<Ending>): Promise<void> {
  history.write({ type: 'ended', job, ending: await ending.catch(endingOf) })
}

function endingOf(error: unknown): Ending {
  const { message = '', submitted } = error as { message?: string; submitted?: number }
  return { how: 'error', code: codeOf(error), message, ...(submitted === undefined ? {} : { submitted }) }
}

async function begin(consumer: Consumer, id: string, spec: JobSpec): Promise<Ending> {
  const { mill } = consumer
  switch (spec.workload) {
    case 'calls':
      return calls(consumer, id, spec)
    case 'stream':
      return pull(consumer, id, spec)
    case 'reduce':
      return reduce(consumer, mill.map(work, inputsOf(spec), { id }))
    case 'detached': {
      const job = mill.map(wait, inputsOf(spec), { id, detached: true })
      await job.submitted()
      return stream(consumer, job, spec)
    }
    case 'range':
      return stream(consumer, mill.map(count, range(spec.count), { id, shared: sharedOf(spec) }), spec)
    case 'poison':
      return settle(consumer, mill.map(poisoned, inputsOf(spec), { id }), spec)
    case 'burn':
    case 'burst':
      return stream(consumer, mill.map(work, inputsOf(spec), { id }), spec)
  }
}

async function goOn(consumer: Consumer, { job: id, spec, by }: LeftJob): Promise<Ending> {
  const { mill, history } = consumer
  if (by === 'same id') {
    const ending = pull(consumer, id, spec)
    history.write({ type: 'attached', job: id, how: 'same id' })
    return ending
  }
  const job = await mill.attach(id)
  history.write({ type: 'attached', job: id, how: 'attach' })
  if (spec.workload === 'reduce') return reduce(consumer, job as Job<number>)
  if (spec.workload === 'poison') return settle(consumer, job, spec)
  return stream(consumer, job as Job<number>, spec)
}

function taskOf({ salt }: JobSpec) {
  return salt % 2 === 0 ? work : wait
}

function inputsOf({ count: length, salt, ms, poison }: JobSpec): Input[] {
  return Array.from({ length }, (_, index) => {
    const harm = poison[index]
    const ballast = ballastOf(index, harm)
    return {
      salt,
      index,
      ms,
      ...(harm === undefined ? {} : { poison: harm }),
      ...(ballast === undefined ? {} : { ballast }),
    }
  })
}

/** Inputs that come little by little, so that a driver can be killed while it submits. */
async function* pulled(spec: JobSpec): AsyncGenerator<Input> {
  for (const input of inputsOf(spec)) {
    if (input.index % 50 === 49) await sleep(20)
    yield input
  }
}

function sharedOf({ salt, ms }: JobSpec) {
  return { salt, ms }
}

/** A job whose inputs are pulled. */
function pull(consumer: Consumer, id: string, spec: JobSpec): Promise<Ending> {
  const { mill } = consumer
  if (spec.unordered !== true) return stream(consumer, mill.map(taskOf(spec), pulled(spec), { id }), spec)
  return streamPairs(consumer, mill.map(taskOf(spec), pulled(spec), { id, ordered: false }))
}

async function stream({ history, watch }: Consumer, job: Job<number>, { salt }: JobSpec): Promise<Ending> {
  watch(job)
  noteSubmitted(history, job)
  for await (const value of job) {
    history.write({ type: 'result', job: job.id, index: indexOf(salt, value) ?? -1, value })
  }
  return { how: 'complete' }
}

async function streamPairs({ history, watch }: Consumer, job: UnorderedJob<number>): Promise<Ending> {
  watch(job)
  noteSubmitted(history, job)
  for await (const [index, value] of job) history.write({ type: 'result', job: job.id, index, value })
  return { how: 'complete' }
}

async function reduce({ history, watch }: Consumer, job: Job<number>): Promise<Ending> {
  watch(job)
  // In the turn of `map`, so that the workers reduce first.
  const reducing = job.reduce(add, 0)
  noteSubmitted(history, job)
  return { how: 'complete', aggregate: await reducing }
}

async function settle({ history, watch }: Consumer, job: Job<unknown>, { count: expected }: JobSpec): Promise<Ending> {
  watch(job)
  noteSubmitted(history, job)
  const outcomes = await job.settled()
  if (outcomes.length !== expected) throw new Error(`settled() gave ${outcomes.length} of ${expected} outcomes`)
  for (const [index, outcome] of outcomes.entries()) {
    if (outcome.status === 'fulfilled') {
      history.write({ type: 'result', job: job.id, index, value: Number(outcome.value) })
    } else {
      history.write({ type: 'failed', job: job.id, index, code: codeOf(outcome.reason) })
    }
  }
  return { how: 'complete' }
}

/** Calls of `run`, a few at a time: each is made when those before it have their results. */
async function calls({ mill, history }: Consumer, job: string, spec: JobSpec): Promise<Ending> {
  const left = inputsOf(spec)
  for (let turn = 1; left.length > 0; turn++) {
    const inputs = left.splice(0, 1 + (turn % 4))
    await Promise.all(
      inputs.map(async input => {
        history.write({ type: 'result', job, index: input.index, value: await mill.run(work, { ...input, call: job }) })
      }),
    )
  }
  return { how: 'complete' }
}

async function gather(history: History, job: string, handles: readonly Handle<number>[]): Promise<Ending> {
  await Promise.all(
    handles.map(async (handle, index) => {
      history.write({ type: 'result', job, index, value: await handle.result() })
    }),
  )
  return { how: 'complete' }
}

function noteSubmitted(history: History, job: Pick<Job<unknown>, 'id' | 'submitted'>): void {
  job.submitted().then(
    () => {
      history.write({ type: 'submitted', job: job.id })
    },
    // The consumer hears of it.
    () => undefined,
  )
}

function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : 'UNKNOWN'
}
