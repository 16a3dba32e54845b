import { readdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { ESLint } from 'eslint'
import { describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))

// The project's own configuration, with the layer rule alone; without type information, so that the files linted here
// need not exist.
const eslint = new ESLint({
  cwd: root,
  ruleFilter: ({ ruleId }) => ruleId === 'millrace/layers',
  overrideConfig: [{ files: ['**/*.ts'], languageOptions: { parserOptions: { projectService: false } } }],
})

async function lint(filePath: string, code: string): Promise<string[]> {
  const [result] = await eslint.lintText(code, { filePath: `${root}${filePath}` })
  return result!.messages.map(({ message }) => message)
}

describe('the layer rule', () => {
  test.each([
    ['a value', `import { createStore } from '../store/store.ts'`],
    ['a type', `import type { Store } from '../store/store.ts'`],
    ['an inline type', `export let store: import('../store/store.ts').Store`],
    ['a dynamic import', `await import('../store/store.ts')`],
    ['a re-export', `export { createStore } from '../store/store.ts'`],
    ['a re-export of all', `export * from '../store/store.ts'`],
    ['an import for its effect', `import '../store/store.ts'`],
  ])('refuses %s of a higher layer', async (_what, code) => {
    expect(await lint('src/protocol/keys.ts', code)).toEqual([
      'src/protocol must not import src/store, which is a higher layer.',
    ])
  })

  test('lets imports go down and stay within a folder', async () => {
    const code = `
      import { MillraceError } from '../../errors.ts'
      import { keys } from '../keys.ts'
      import { backoff } from '../../runtime/backoff.ts'
      import { readFile } from 'node:fs/promises'
      import { pack } from 'msgpackr'`
    expect(await lint('src/protocol/scripts/claim.ts', code)).toEqual([])
  })

  test.each([
    ['driver', 'worker'],
    ['worker', 'observe'],
    ['observe', 'driver'],
  ])('refuses an import of %s by %s, its neighbour', async (to, from) => {
    expect(await lint(`src/${from}/a.ts`, `import '../${to}/b.ts'`)).toEqual([
      `src/${from} must not import src/${to}, which stands beside it.`,
    ])
  })

  test('refuses the public index, by its path and by its name', async () => {
    expect(await lint('src/cli/main.ts', `import '../index.ts'; import 'millrace'; import 'millrace/worker'`)).toEqual([
      'src/cli must not import src/index.ts, which is a higher layer.',
      "src/cli must not import 'millrace', the package itself: import the file that defines it.",
      "src/cli must not import 'millrace/worker', the package itself: import the file that defines it.",
    ])
  })

  test('lets only the store import the Redis client, even its types', async () => {
    const code = `import type { Redis } from 'ioredis'`
    expect(await lint('src/store/client.ts', code)).toEqual([])
    expect(await lint('src/driver/connect.ts', code)).toEqual([
      "src/driver must not import 'ioredis': only src/store knows the Redis client.",
    ])
  })

  test('refuses an import from outside of src', async () => {
    expect(await lint('src/runtime/clock.ts', `import '../../test/support/until.ts'`)).toEqual([
      "src/runtime must not import '../../test/support/until.ts', which is outside of src.",
    ])
  })

  test('asks for a place for a new folder, and knows each that there is', async () => {
    expect(await lint('src/misc/new.ts', '')).toEqual([
      'src/misc is in no layer: add it to LAYERS in scripts/eslint-layers.mjs.',
    ])
    for (const entry of await readdir(`${root}src`, { withFileTypes: true })) {
      const file = entry.isDirectory() ? `src/${entry.name}/some.ts` : `src/${entry.name}`
      expect(await lint(file, '')).toEqual([])
    }
  })

  test('leaves tests and examples alone', async () => {
    expect(await lint('test/driver/map.test.ts', `import 'millrace'; import '../../src/worker/thread.ts'`)).toEqual([])
  })
})
