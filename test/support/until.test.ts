import { describe, expect, test } from 'vitest'
import { until } from './until.ts'

describe('until', () => {
  test('resolves with what the condition gave once it is truthy', async () => {
    let looks = 0
    const value = await until(() => (++looks === 3 ? 'third' : undefined), { what: 'the third look', everyMs: 1 })
    expect(value).toBe('third')
    expect(looks).toBe(3)
  })

  test('rejects with the named reason and what the condition threw', async () => {
    const waiting = until(
      () => {
        throw new Error('no such file')
      },
      { what: 'the file is there', timeoutMs: 50 },
    )
    await expect(waiting).rejects.toThrow(
      'waited 50 ms in vain until the file is there; the last look threw: no such file',
    )
  })

  test('does not wait beyond its deadline for a condition that never answers', async () => {
    const never = new Promise<boolean>(() => undefined)
    await expect(until(() => never, { what: 'pigs fly', timeoutMs: 50 })).rejects.toThrow('until pigs fly')
  })
})
