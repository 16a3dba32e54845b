import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { mutations } from '../../chaos/mutations/list.ts'
import { mutate } from '../../chaos/mutations/tree.ts'

describe('the list of mutations', () => {
  test.each(mutations.map(mutation => [mutation.name, mutation] as const))(
    'still finds its place: %s',
    (_name, mutation) => {
      const { file, from, to } = mutation
      const source = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
      expect(mutate(source, from, to, file)).not.toBe(source)
    },
  )
  test('is refused where the text is not there, or more than once', () => {
    expect(() => mutate('a b', 'c', 'd', 'f')).toThrow('f has 0 places')
    expect(() => mutate('a a', 'a', 'd', 'f')).toThrow('f has 2 places')
  })
})
