import { describe, expect, test } from 'vitest'
import { matchCode } from '../../src/driver/code-match.ts'
import type { WorkerView } from '../../src/driver/types.ts'
import { CodeMismatchError, UnknownTaskError } from '../../src/errors.ts'

const worker = (hash: string, ...tasks: string[]): WorkerView => ({
  id: hash,
  host: 'h',
  pid: 1,
  threads: 1,
  tasks,
  hash,
  lastSeenMs: 0,
})

describe('matchCode', () => {
  test('without a module of its own takes the only code that workers have for the name', () => {
    expect(matchCode('a', undefined, [worker('h1', 'a'), worker('h1', 'a'), worker('h2', 'b')])).toEqual({ hash: 'h1' })
  })

  test('waits, with the reason, while nobody knows the name', () => {
    expect(matchCode('a', undefined, [worker('h2', 'b')])).toEqual({ waitFor: 'a worker that knows the task "a"' })
  })

  test('refuses to guess between several codes', () => {
    expect(() => matchCode('a', undefined, [worker('h1', 'a'), worker('h2', 'a')])).toThrow(CodeMismatchError)
  })

  test('takes its own code where workers have it, and where there are none yet', () => {
    expect(matchCode('a', 'own', [worker('own', 'a'), worker('old', 'a')])).toEqual({ hash: 'own' })
    expect(matchCode('a', 'own', [])).toEqual({ hash: 'own' })
    expect(matchCode('a', 'own', [worker('other', 'b')])).toEqual({ hash: 'own' })
  })

  test('names both codes where workers only have another one', () => {
    const match = () => matchCode('a', 'own', [worker('old', 'a')])
    expect(match).toThrow(CodeMismatchError)
    expect(match).toThrow(/own.*old/)
  })

  test('says when the shared module does not export the task', () => {
    expect(() => matchCode('a', 'own', [worker('own', 'b')])).toThrow(UnknownTaskError)
  })
})
