/** Checked by the compiler (`tsc --noEmit`), never run. */
import { expectTypeOf } from 'vitest'
import type { Reducer, Task, TaskContext } from '../../src/code/task.ts'
import { isTask, reducer, task } from '../../src/code/task.ts'
import type { Mill } from '../../src/driver/types.ts'

declare const mill: Mill

// Inference from the function -----------------------------------------------------------------------------------------

const square = task('square', (x: number) => x * x)
expectTypeOf(square).toEqualTypeOf<Task<number, number>>()

const fetched = task('fetched', async (url: URL, ctx) => {
  expectTypeOf(ctx).toEqualTypeOf<TaskContext>()
  await Promise.resolve(ctx.signal)
  return url.href
})
expectTypeOf(fetched).toEqualTypeOf<Task<URL, string>>()

const ping = task('ping', () => 1)
expectTypeOf(ping).toEqualTypeOf<Task<undefined, number>>()

const sum = task('sum', ([a, b]: [number, number]) => a + b)
expectTypeOf(sum).toEqualTypeOf<Task<[number, number], number>>()

const field = task('field', ({ key, rows }: { key: string; rows: Map<string, Date> }) => rows.get(key))
expectTypeOf(field).toEqualTypeOf<Task<{ key: string; rows: Map<string, Date> }, Date | undefined>>()

const sometimes = task('sometimes', (x: number) => (x > 1 ? x : Promise.resolve(x)))
expectTypeOf(sometimes).toEqualTypeOf<Task<number, number>>()

const silent = task('silent', async (x: number) => {
  await Promise.resolve(x)
})
expectTypeOf(silent).toEqualTypeOf<Task<number, void>>()

const optional = task('optional', (x?: string) => x ?? 'none')
expectTypeOf(optional).toEqualTypeOf<Task<string | undefined, string>>()

// Shared values -------------------------------------------------------------------------------------------------------

interface Model {
  readonly weights: Float64Array
}

const explicit = task<string, number, Model>('explicit', (word, ctx) => ctx.shared.weights.length + word.length)
expectTypeOf(explicit).toEqualTypeOf<Task<string, number, Model>>()

const annotated = task('annotated', (word: string, ctx: TaskContext<Model>) => ctx.shared.weights.at(word.length))
expectTypeOf(annotated).toEqualTypeOf<Task<string, number | undefined, Model>>()

expectTypeOf<TaskContext['shared']>().toEqualTypeOf<undefined>()

// Variance ------------------------------------------------------------------------------------------------------------

expectTypeOf(square).toExtend<Task<number, unknown>>()
expectTypeOf(square).not.toExtend<Task<number, string>>()
expectTypeOf(square).not.toExtend<Task<unknown, number>>()
expectTypeOf(task('wide', (x: unknown) => String(x))).toExtend<Task<number, string>>()
expectTypeOf(explicit).toExtend<Task<never, unknown, never>>()
expectTypeOf(explicit).not.toExtend<Task<string, number>>()

const made: unknown = square
if (isTask(made)) expectTypeOf(made.fn).returns.toEqualTypeOf<unknown>()

// @ts-expect-error tasks are made by task(), not by hand
export const byHand: Task<number, number> = { name: 'x', fn: (x: number) => x, options: square.options }

// @ts-expect-error a mistyped option
task('mistyped', () => 1, { retry: 3 })

// Reducers ------------------------------------------------------------------------------------------------------------

const add = reducer('add', (a: number, b: number) => a + b)
expectTypeOf(add).toEqualTypeOf<Reducer<number>>()
expectTypeOf(reducer('max', Math.max)).toEqualTypeOf<Reducer<number>>()
expectTypeOf(add).not.toExtend<Reducer<number | string>>()

// Through the driver --------------------------------------------------------------------------------------------------

expectTypeOf(mill.run(square, 12)).toEqualTypeOf<Promise<number>>()
expectTypeOf(mill.run(ping)).toEqualTypeOf<Promise<number>>()
expectTypeOf(mill.run(optional)).toEqualTypeOf<Promise<string>>()
expectTypeOf(mill.map(square, [1, 2]).results()).toEqualTypeOf<Promise<number[]>>()
expectTypeOf(mill.map(square, [1, 2]).reduce(add, 0)).toEqualTypeOf<Promise<number>>()
expectTypeOf(mill.run(sum, [1, 2])).toEqualTypeOf<Promise<number>>()

export const refused = [
  // @ts-expect-error an input is needed
  () => mill.run(square),
  // @ts-expect-error of the right type
  () => mill.run(square, '12'),
  // @ts-expect-error and of every element
  () => mill.map(square, ['12']),
  // @ts-expect-error a reducer of what the task returns
  () => mill.map(fetched, [new URL('file:///')]).reduce(add, ''),
]
