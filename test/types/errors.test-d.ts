/**
 * The files here are never run: the typecheck of the whole tree (`npm run typecheck`, and `npm test`) is what fails when
 * one of their claims is wrong.
 */
import { expectTypeOf, test } from 'vitest'
import {
  TaskError,
  type MillraceError,
  type TaskQuarantinedError,
  type TaskTimeoutError,
  type UsageError,
} from '../../src/errors.ts'

test('a program can branch on the code of every error', () => {
  expectTypeOf<MillraceError['code']>().toEqualTypeOf<string>()
  expectTypeOf<UsageError['code']>().toEqualTypeOf<'USAGE'>()
})

test('what is known of a failed task is known of each way to fail', () => {
  expectTypeOf<TaskTimeoutError>().toExtend<TaskError>()
  expectTypeOf<TaskQuarantinedError>().toExtend<TaskError>()
  expectTypeOf<TaskQuarantinedError['index']>().toEqualTypeOf<number>()
})

test('an error without the fields that it promises is refused', () => {
  // @ts-expect-error the second argument says which task failed
  new TaskError('it failed')
})
