import { expectTypeOf } from 'vitest'
import { connect, range, reducer, task } from '../../src/index.ts'
import type { BroadcastAnswer, Handle, Job, Mill, Progress, Settled, Task, UnorderedJob } from '../../src/index.ts'

// Held by the type checker alone: nothing here runs.
declare const mill: Mill

const square = task('square', (x: number) => x * x)
const name = task('name', async (row: { readonly id: string }) => Promise.resolve(row.id))
const now = task('now', () => 'now')
const maybe = task('maybe', (x?: number) => x ?? 0)
const lookUp = task('lookUp', (key: string, ctx: { readonly shared: ReadonlyMap<string, number> }) =>
  ctx.shared.get(key),
)
const add = reducer('add', (a: number, b: number) => a + b)

export function tasksCarryTheirTypes(): void {
  expectTypeOf(square).toEqualTypeOf<Task<number, number>>()
  expectTypeOf(name).toEqualTypeOf<Task<{ readonly id: string }, string>>()
}

export async function runAndSubmit(): Promise<void> {
  expectTypeOf(await mill.run(square, 12)).toEqualTypeOf<number>()
  expectTypeOf(await mill.run(name, { id: 'a' }, { priority: 1 })).toEqualTypeOf<string>()
  expectTypeOf(mill.submit(name, { id: 'a' })).toEqualTypeOf<Handle<string>>()
  expectTypeOf(mill.submit(name, { id: 'a' }).result()).toEqualTypeOf<Promise<string>>()
  // The input may be left out only where it may be undefined.
  await mill.run(now)
  await mill.run(maybe)
  await mill.run(maybe, 3)
  // @ts-expect-error the input is missing
  await mill.run(square)
  // @ts-expect-error the input is of another type
  await mill.run(square, '12')
}

export async function map(): Promise<void> {
  expectTypeOf(mill.map(square, range(10))).toEqualTypeOf<Job<number>>()
  expectTypeOf(mill.map(square, new Set([1]))).toEqualTypeOf<Job<number>>()
  expectTypeOf(mill.map(square, range(10), { ordered: false })).toEqualTypeOf<UnorderedJob<number>>()
  expectTypeOf(await mill.map(name, [{ id: 'a' }]).results()).toEqualTypeOf<string[]>()
  expectTypeOf(await mill.map(name, [{ id: 'a' }]).settled()).toEqualTypeOf<Settled<string>[]>()
  expectTypeOf(mill.map(square, [1]).progress()).toEqualTypeOf<Promise<Progress>>()
  for await (const result of mill.map(name, [{ id: 'a' }])) expectTypeOf(result).toEqualTypeOf<string>()
  for await (const pair of mill.map(name, [{ id: 'a' }], { ordered: false })) {
    expectTypeOf(pair).toEqualTypeOf<readonly [index: number, value: string]>()
  }
  // @ts-expect-error inputs of another type
  mill.map(square, ['a'])
  // @ts-expect-error a string is iterable, but not of numbers
  mill.map(square, 'abc')
}

export async function reduce(): Promise<void> {
  expectTypeOf(await mill.map(square, range(10)).reduce(add, 0)).toEqualTypeOf<number>()
  const text = await mill.map(square, range(10)).reduce((all: string, y) => `${all}${y}`, '')
  expectTypeOf(text).toEqualTypeOf<string>()
  // @ts-expect-error a reducer of numbers does not reduce strings
  await mill.map(name, [{ id: 'a' }]).reduce(add, '')
}

export function shared(): void {
  mill.map(lookUp, ['a'], { shared: new Map([['a', 1]]) })
  // @ts-expect-error the shared value is of another type
  mill.map(lookUp, ['a'], { shared: 5 })
}

export async function attachAndBroadcast(): Promise<void> {
  expectTypeOf(await mill.attach('id')).toEqualTypeOf<Job<unknown>>()
  expectTypeOf(await mill.attach('id', square)).toEqualTypeOf<Job<number>>()
  expectTypeOf(await mill.broadcast(square, 1)).toEqualTypeOf<BroadcastAnswer<number>[]>()
}

export function nothingIsThenable(): void {
  expectTypeOf(mill.map(square, [1])).not.toHaveProperty('then')
  expectTypeOf(mill.submit(square, 1)).not.toHaveProperty('then')
}

export async function connecting(): Promise<void> {
  await using connected = await connect({ tasks: new URL('./tasks.ts', import.meta.url), threads: 2 })
  expectTypeOf(connected).toEqualTypeOf<Mill>()
  // @ts-expect-error not an option
  await connect({ workers: 2 })
}
