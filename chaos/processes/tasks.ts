import { subscribe } from 'node:diagnostics_channel'
import { setTimeout as sleep } from 'node:timers/promises'
import { isMainThread, threadId } from 'node:worker_threads'
import { reducer, task } from 'millrace'
import type { TaskContext } from 'millrace'
import { poisonLimitMs, valueOf } from '../events.ts'
import type { Poison } from '../events.ts'
import { History } from '../history.ts'
import { recordCommits } from './record-commits.ts'

/** The tasks of a chaos run. Each writes down that it starts, and what its effect is. */

const folder = process.env['MILLRACE_CHAOS_HISTORY']
// The driver imports this module too, for the names; only the threads of workers run what is in it.
const history = folder === undefined || isMainThread ? undefined : new History(folder, `${process.pid}/${threadId}`)
const claims = history === undefined ? undefined : recordCommits(history, subscribe)

export interface Input {
  readonly salt: number
  readonly index: number
  readonly ms: number
  readonly poison?: Poison
  /** What the call is part of, for those whose own job is known to nobody. */
  readonly call?: string
  /** Makes the input too large for the List. */
  readonly ballast?: Uint8Array
}

/** Some inputs, and all that do harm, have so much with them. */
export function ballastOf(index: number, poison: Poison | undefined): Uint8Array | undefined {
  return index % 32 === 31 || poison !== undefined ? Buffer.alloc(70_000, index % 251) : undefined
}

/** Not what the driver sent: a wrong value, which the checker sees, whatever else comes out right. */
function isWhole({ index, poison, ballast }: Input): boolean {
  const sent = ballastOf(index, poison)
  return sent === undefined ? ballast === undefined : ballast !== undefined && Buffer.compare(sent, ballast) === 0
}

function valueFor(input: Input): number {
  return isWhole(input) ? valueOf(input.salt, input.index) : NaN
}

interface Shared {
  readonly salt: number
  readonly ms: number
}

type Context = Pick<TaskContext<unknown>, 'jobId' | 'index' | 'attempt'>

/** Under which names the driver of a single call knows it. */
type Call = { readonly job: string; readonly index: number } | undefined

function started({ jobId: job, index, attempt }: Context, call?: Call): void {
  history?.write({ type: 'started', job, index, attempt, ...call })
}

function effect({ jobId: job, index, attempt }: Context, value: number, call?: Call): number {
  history?.write({ type: 'effect', job, index, attempt, claim: claims?.of(job, index) ?? '', value, ...call })
  return value
}

function spin(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until) Math.random()
}

/** Computes. */
export const work = task('work', (input: Input, ctx) => {
  const call = input.call === undefined ? undefined : { job: input.call, index: input.index }
  started(ctx, call)
  spin(input.ms)
  return effect(ctx, valueFor(input), call)
})

/** Waits, several at a time. */
export const wait = task(
  'wait',
  async (input: Input, ctx) => {
    started(ctx)
    await sleep(input.ms, undefined, { signal: ctx.signal })
    return effect(ctx, valueFor(input))
  },
  { concurrency: 4 },
)

/** Of a range, with a shared value. */
export const count = task<number, number, Shared>('count', (index, ctx) => {
  started(ctx)
  spin(ctx.shared.ms)
  return effect(ctx, valueOf(ctx.shared.salt, index))
})

/** Does harm where its input says so. */
export const poisoned = task(
  'poisoned',
  (input: Input, ctx): unknown => {
    const { index, ms, poison } = input
    started(ctx)
    spin(ms)
    const value = valueFor(input)
    const does = harms[poison ?? 'none']
    return does === undefined ? effect(ctx, value) : does(index)
  },
  // A busy machine takes seconds to fill a heap.
  { timeoutMs: poisonLimitMs },
)

const harms: Readonly<Record<Poison | 'none', ((index: number) => unknown) | undefined>> = {
  none: undefined,
  exit: () => process.exit(7),
  kill: () => {
    process.kill(process.pid, 'SIGKILL')
    return sleep(60_000)
  },
  loop: () => {
    spin(Infinity)
  },
  heap: fillHeap,
  throw: index => {
    throw new RangeError(`task ${index} always fails`)
  },
  unencodable: index => () => index,
}

/** Quickly, so that the heap is full before the time is over. */
function fillHeap(): never {
  const kept: number[][] = []
  for (;;) kept.push(new Array<number>(1_000_000).fill(kept.length + 0.5))
}

export const add = reducer('add', (a: number, b: number) => a + b)
