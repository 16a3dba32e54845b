import { describe, expect, test } from 'vitest'
import type * as TaskFile from '../../src/code/task.ts'
import type { TaskOptions } from '../../src/code/task.ts'
import { isReducer, isTask, reducer, task } from '../../src/code/task.ts'
import { UsageError } from '../../src/errors.ts'
import { buildPackage } from './built-package.ts'

const built = await buildPackage()

const never = (): never => {
  throw new Error('not run')
}

function failureOf(define: () => unknown): Error {
  try {
    define()
  } catch (error) {
    if (error instanceof Error) return error
  }
  throw new Error('it was accepted')
}

describe('task', () => {
  test('fills in the options', () => {
    expect(task('t', never).options).toEqual({
      retries: 0,
      timeoutMs: undefined,
      backoffMs: 100,
      maxBackoffMs: 30_000,
      concurrency: 1,
    })
    expect(task('t', never, { retries: 3, timeoutMs: 10, backoffMs: 60_000, concurrency: 8 }).options).toEqual({
      retries: 3,
      timeoutMs: 10,
      backoffMs: 60_000,
      maxBackoffMs: 60_000,
      concurrency: 8,
    })
  })

  test('cannot be changed', () => {
    const made = task('t', never)
    expect([made, made.options, reducer('r', (a: number) => a)].every(Object.isFrozen)).toBe(true)
  })

  test.each([
    ['', /"" can't be the name of a task/],
    ['x'.repeat(201), /can't be the name of a task, because names travel and are printed: use 1 to 200 characters/],
    ['two\nlines', /"two\\nlines" can't be the name/],
    ['nul\u0000', /can't be the name/],
    [7 as unknown as string, /first argument of task\(\) is its name, not a number: write task\('square'/],
  ])('refuses the name %j', (name, message) => {
    const failure = failureOf(() => task(name, never))
    expect(failure).toBeInstanceOf(UsageError)
    expect(failure.message).toMatch(message)
  })

  test('accepts names with spaces, of any script, up to 200 characters', () => {
    expect(['score row', 'größe', '平方', 'x'.repeat(200)].map(name => task(name, never).name.length)).toEqual([
      9, 5, 2, 200,
    ])
  })

  test.each<[unknown, RegExp]>([
    [{ retries: -1 }, /retries of the task "t" can't be -1: give a whole number from 0 to 1000000/],
    [{ retries: 1.5 }, /retries .* whole number/],
    [{ retries: '3' }, /retries .* can't be of type string/],
    [{ timeoutMs: 0 }, /timeoutMs .* can't be 0: give a number from 1 to 2147483647/],
    [{ timeoutMs: Infinity }, /timeoutMs .* can't be Infinity/],
    [{ backoffMs: NaN }, /backoffMs .* can't be NaN/],
    [{ backoffMs: 200, maxBackoffMs: 100 }, /maxBackoffMs .* can't be 100: give a number from 200/],
    [{ concurrency: 0 }, /concurrency .* can't be 0/],
    [{ retry: 3 }, /an option "retry", which there is not: use retries, timeoutMs/],
  ])('refuses the options %j', (options, message) => {
    const failure = failureOf(() => task('t', never, options as TaskOptions))
    expect(failure).toBeInstanceOf(UsageError)
    expect(failure.message).toMatch(message)
  })

  test('refuses what is not a function', () => {
    expect(failureOf(() => task('t', 'x' as unknown as () => 1)).message).toMatch(
      /"t" has no function: .* of type string/,
    )
    expect(failureOf(() => reducer('r', null as unknown as () => 1)).message).toMatch(
      /reducer "r" has no function: .* null/,
    )
  })

  test('begins the stack of its errors at the line that called it', () => {
    const [, firstFrame] = failureOf(() => task('', never)).stack?.split('\n') ?? []
    expect(firstFrame).toContain('task.test.ts')
  })

  test('is known to another copy of the package, and so is a reducer', async () => {
    const other = (await import(/* @vite-ignore */ built.url('code/task.js').href)) as typeof TaskFile
    expect(other.isTask).not.toBe(isTask)
    expect([isTask(other.task('t', never)), other.isReducer(reducer('r', (a: number) => a))]).toEqual([true, true])
  })

  test.each([[undefined], [null], [never], [{}], [{ name: 't', fn: never, options: {} }], ['task']])(
    'is not %j',
    value => {
      expect([isTask(value), isReducer(value)]).toEqual([false, false])
    },
  )

  test('is no reducer, and a reducer is no task', () => {
    expect([isReducer(task('t', never)), isTask(reducer('r', (a: number) => a))]).toEqual([false, false])
  })
})
