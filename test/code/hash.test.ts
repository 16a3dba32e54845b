import { cp, mkdir, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bundleTasks } from '../../src/code/bundle.ts'
import type { PackageEntry } from '../../src/code/package-entry.ts'
import { runningPackage } from '../../src/code/package-entry.ts'
import { installed, makeFolder, makeProject, writeFiles } from './project.ts'
import type { Files } from './project.ts'

/** Everything that could bring a path into the hash: names made of file names, places of sources, packages, JSON. */
const project: Files = {
  'index.ts': `import { task } from 'millrace'
import anonymous from './lib/index.ts'
import common from './lib/common.cjs'
import data from './data.json'
import esm from 'only-esm'
import cjs from 'only-cjs'
class Row { constructor(readonly n: number) {} }
export const where = task('where', (n: number) => [import.meta.url, anonymous(n), common, data, esm, cjs, new Row(n)])
export default (n: number) => n * 2
`,
  'lib/index.ts': `class Row { constructor(readonly n: number) {} }
export default (n: number) => new Row(n)
`,
  'lib/common.cjs': `exports.place = [__filename, require('only-cjs')]
`,
  'data.json': `{ "a": 1 }`,
  ...installed('only-esm', { type: 'module', exports: './index.js' }, { 'index.js': `export default 1` }),
  ...installed(
    'only-cjs',
    { main: './main.js' },
    { 'main.js': `module.exports = 2`, 'other.js': `module.exports = 3` },
  ),
}

const main = project['index.ts'] ?? ''

async function hashOf(folder: string, packageEntry?: PackageEntry): Promise<string> {
  return (await bundleTasks(join(folder, 'index.ts'), packageEntry === undefined ? {} : { packageEntry })).hash
}

describe('the hash of a task module', () => {
  test('is 16 hexadecimal digits, and the same wherever the project lies', async () => {
    const here = await makeProject(project)
    const elsewhere = join(await makeFolder('a-much-longer-name'), 'z', 'q')
    await cp(here, elsewhere, { recursive: true })
    const hash = await hashOf(here)
    expect(hash).toMatch(/^[\da-f]{16}$/)
    expect(await hashOf(elsewhere)).toBe(hash)
  })

  test('is the same wherever Millrace and the packages are installed', async () => {
    const here = await makeProject(project)
    const hash = await hashOf(here)
    const other = pathToFileURL(join(await makeFolder('package'), 'deep/er/'))
    expect(await hashOf(here, { '.': new URL('index.js', other), './worker': new URL('worker/index.js', other) })).toBe(
      hash,
    )

    const store = await makeFolder('store')
    await mkdir(join(store, 'node_modules'), { recursive: true })
    await cp(join(here, 'node_modules/only-cjs'), join(store, 'node_modules/only-cjs'), { recursive: true })
    await rm(join(here, 'node_modules/only-cjs'), { recursive: true })
    await symlink(join(store, 'node_modules/only-cjs'), join(here, 'node_modules/only-cjs'))
    expect(await hashOf(here)).toBe(hash)
  })

  test.each<[string, Files]>([
    ['comments', { 'index.ts': `/*! a licence */ // import.meta __dirname\n${main}// the end\n` }],
    ['comments of CommonJS', { 'lib/common.cjs': `// __dirname\nexports.place = [__filename, require('only-cjs')]` }],
    ['white space', { 'index.ts': main.replaceAll('\n', '\r\n\r\n').replaceAll(', ', ' ,\t ') }],
    ['files that nothing imports', { 'lib/unused.ts': 'export const unused = 1' }],
    ['code of packages whose version stays', { 'node_modules/only-esm/index.js': '/* patched */ export default 1' }],
  ])('does not change with %s', async (_, change) => {
    const folder = await makeProject(project)
    const hash = await hashOf(folder)
    await writeFiles(folder, change)
    expect(await hashOf(folder)).toBe(hash)
  })

  test('does not change with any comment anywhere', async () => {
    const folder = await makeProject(project)
    const hash = await hashOf(folder)
    const comment = fc.string({ maxLength: 200 }).map(text => `/*${text.replaceAll('*/', '')} */`)
    await fc.assert(
      fc.asyncProperty(comment, comment, async (first, second) => {
        const commented = main
          .replace('class Row {', () => `class Row ${first} {`)
          .replace('n * 2', () => `n * ${second} 2`)
        await writeFiles(folder, { 'index.ts': commented })
        expect(await hashOf(folder)).toBe(hash)
      }),
      { numRuns: 20 },
    )
  })

  test.each<[string, Files]>([
    ['a number in the module', { 'index.ts': main.replace('n * 2', 'n * 3') }],
    ['a number in an imported file', { 'lib/index.ts': `export default (n: number) => n + 1` }],
    ['a number in CommonJS', { 'lib/common.cjs': `exports.place = [__filename, require('only-cjs'), 1]` }],
    ['JSON', { 'data.json': `{ "a": 2 }` }],
    ["a task's name", { 'index.ts': main.replace(`'where'`, `'there'`) }],
    ["a task's options", { 'index.ts': main.replace(`new Row(n)])`, `new Row(n)], { retries: 1 })`) }],
    ["a class's name", { 'index.ts': main.replaceAll('Row', 'Line') }],
    ["an export's name", { 'index.ts': main.replace('const where', 'const here') }],
    ['a dash in a text', { 'index.ts': main.replace('import.meta.url', `'a  b'`) }],
    [
      'the version of an ESM package',
      installed('only-esm', { version: '1.0.1', type: 'module', exports: './index.js' }, {}),
    ],
    ['the version of a CommonJS package', installed('only-cjs', { version: '2.0.0', main: './main.js' }, {})],
    ['the file that a package is entered by', installed('only-cjs', { main: './other.js' }, {})],
    [
      'a compiler option that changes what code does',
      {
        'tsconfig.json': `{ "compilerOptions": { "experimentalDecorators": true, "useDefineForClassFields": false } }`,
        'lib/index.ts': `class Row { n = 1 }\nexport default (n: number) => new Row()`,
      },
    ],
  ])('changes with %s', async (_, change) => {
    const folder = await makeProject(project)
    const hash = await hashOf(folder)
    await writeFiles(folder, change)
    expect(await hashOf(folder)).not.toBe(hash)
  })

  test('is taken from the same text as the code, even while a file is being saved', async () => {
    const folder = await makeProject({ 'index.ts': `export const n = 0\n` })
    const saving = (async () => {
      for (let n = 1; n <= 200; n++) await writeFiles(folder, { 'index.ts': `export const n = ${n % 10}\n` })
    })()
    const seen = new Map<string, Set<string>>()
    for (let i = 0; i < 20; i++) {
      const { code, hash } = await bundleTasks(join(folder, 'index.ts'))
      const text = /var n = \d/.exec(code)?.[0] ?? 'empty'
      seen.set(hash, (seen.get(hash) ?? new Set()).add(text))
    }
    await saving
    expect([...seen.values()].map(texts => texts.size)).toEqual([...seen.values()].map(() => 1))
  })

  test('stands for this copy of the package by default', () => {
    expect(runningPackage()['.'].pathname).toMatch(/\/src\/index\.ts$/)
  })
})
