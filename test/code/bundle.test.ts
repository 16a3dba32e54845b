import { copyFile, mkdir, readdir, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, test } from 'vitest'
import { bundleTasks } from '../../src/code/bundle.ts'
import { TaskModuleError, UsageError } from '../../src/errors.ts'
import { buildPackage } from './built-package.ts'
import { installed, makeProject } from './project.ts'
import { bundleFor, loadInThread } from './thread.ts'

const built = await buildPackage()

const oneTask = `import { task } from 'millrace'\nexport const one = task('one', () => 1)\n`

describe('bundleTasks', () => {
  test('runs TypeScript, JavaScript, CommonJS and JSON from one bundle', async () => {
    const project = await makeProject({
      'tasks.ts': `
        import { task } from 'millrace'
        import { fromTs } from './lib/typed.js'
        import { fromJs } from './lib/plain.mjs'
        import common, { fromCommonJS } from './lib/common.cjs'
        import data from './lib/data.json'
        const later = await Promise.resolve('awaited')
        export const all = task('all', async () => {
          const { lazy } = await import('./lib/lazy.ts')
          return [fromTs satisfies string, fromJs, fromCommonJS, common.fromJson, data.value, later, lazy]
        })`,
      'lib/typed.ts': `export const fromTs: string = 'ts'`,
      'lib/plain.mjs': `export const fromJs = 'js'`,
      'lib/common.cjs': `exports.fromCommonJS = 'cjs'; exports.fromJson = require('./data.json').value`,
      'lib/data.json': `{ "value": "json" }`,
      'lib/lazy.ts': `export const lazy = 'lazy' as const`,
    })
    const { returned } = await loadInThread(built, join(project, 'tasks.ts'))
    expect(returned).toEqual({ all: ['ts', 'js', 'cjs', 'json', 'json', 'awaited', 'lazy'] })
  })

  test('lets each source see its own place', async () => {
    const project = await makeProject({
      'tasks.ts': `import { task } from 'millrace'
        import { inner } from './lib/inner.ts'
        import { commonPlace } from './lib/common.cjs'
        import { own } from './lib/own.ts'
        const { url, dirname, filename } = import.meta
        const asset = new URL('./asset.txt', import.meta.url).href
        export const places = task('places', () => ({ here: [url, dirname, filename, asset], inner, commonPlace, own }))`,
      'lib/inner.ts': `#!/usr/bin/env node
        export const inner = [import.meta.url, import.meta.resolve('./x.js'), import.meta.resolve('fs')]`,
      'lib/common.cjs': `exports.commonPlace = [__dirname, __filename]`,
      'lib/own.ts': `import { fileURLToPath } from 'node:url'
        const __dirname = fileURLToPath(new URL('.', import.meta.url))
        export const own = __dirname`,
    })
    const at = (path: string): string => pathToFileURL(join(project, path)).href
    const { returned } = await loadInThread(built, join(project, 'tasks.ts'))
    expect(returned['places']).toEqual({
      here: [at('tasks.ts'), project, join(project, 'tasks.ts'), at('asset.txt')],
      inner: [at('lib/inner.ts'), at('lib/x.js'), 'node:fs'],
      commonPlace: [join(project, 'lib'), join(project, 'lib/common.cjs')],
      own: join(project, 'lib') + '/',
    })
  })

  test('leaves installed packages outside and resolves them as their importer would', async () => {
    const project = await makeProject({
      'tasks.ts': `
        import { task } from 'millrace'
        import fromEsm, { where } from 'only-esm/sub'
        import { computed } from 'only-cjs'
        import both from 'both'
        import { viaRequire, resolved } from './common.cjs'
        export const all = task('all', () => [fromEsm, where, computed, both, viaRequire, resolved])`,
      'common.cjs': `exports.viaRequire = require('both'); exports.resolved = require.resolve('both')`,
      ...installed(
        'only-esm',
        { type: 'module', exports: { './sub': { import: './lib/sub.js' } } },
        { 'lib/sub.js': `export default 'esm'; export const where = import.meta.url` },
      ),
      // Node itself would not find this name in the text, and refuse to import it.
      ...installed('only-cjs', {}, { 'index.js': `const name = 'comp' + 'uted'; exports[name] = 'cjs'` }),
      ...installed(
        'both',
        { exports: { import: './both.mjs', require: './both.cjs' } },
        { 'both.mjs': `export default 'imported'`, 'both.cjs': `module.exports = 'required'` },
      ),
    })
    const at = (path: string): string => join(project, 'node_modules', path)
    const { returned } = await loadInThread(built, join(project, 'tasks.ts'))
    expect(returned['all']).toEqual([
      'esm',
      pathToFileURL(at('only-esm/lib/sub.js')).href,
      'cjs',
      'imported',
      'required',
      at('both/both.cjs'),
    ])
  })

  test('takes the code of linked workspaces and of path aliases in', async () => {
    const project = await makeProject({
      'app/tasks.ts': `
        import { task } from 'millrace'
        import { linked } from '@acme/linked'
        import { aliased } from '~/aliased'
        export const all = task('all', () => [linked, aliased])`,
      'app/src/aliased.ts': `export const aliased: string = 'alias'`,
      'app/tsconfig.json': JSON.stringify({ compilerOptions: { paths: { '~/*': ['./src/*'] } } }),
      'linked/package.json': JSON.stringify({ name: '@acme/linked', type: 'module', main: './index.ts' }),
      'linked/index.ts': `export const linked: string = 'link'`,
    })
    await mkdir(join(project, 'app/node_modules/@acme'), { recursive: true })
    await symlink(join(project, 'linked'), join(project, 'app/node_modules/@acme/linked'))
    const { returned } = await loadInThread(built, join(project, 'app/tasks.ts'))
    expect(returned).toEqual({ all: ['link', 'alias'] })
  })

  test('loads native addons from where they are', async () => {
    const project = await makeProject({
      'tasks.ts': `
        import { task } from 'millrace'
        import addon from './addon.cjs'
        export const native = task('native', () => Object.getOwnPropertyNames(addon))`,
      'addon.cjs': `module.exports = require('./addon.node')`,
    })
    await copyFile(await findAddon(), join(project, 'addon.node'))
    const { returned } = await loadInThread(built, join(project, 'tasks.ts'))
    expect(returned).toEqual({ native: ['extractStrings'] })
  })

  test('makes millrace mean the running copy, whatever is installed', async () => {
    const project = await makeProject({
      'tasks.ts': `
        import { task, UsageError } from 'millrace'
        import { entry } from 'millrace/worker'
        import { own } from './common.cjs'
        export const same = task('same', () => [own.UsageError === UsageError, 'decoy' in own, entry])`,
      'common.cjs': `exports.own = require('millrace')`,
      ...installed('millrace', { main: 'index.js' }, { 'index.js': `exports.decoy = true` }),
    })
    const { returned } = await loadInThread(built, join(project, 'tasks.ts'))
    expect(returned).toEqual({ same: [true, false, 'worker'] })
  })

  test('leaves Millrace outside when it is imported by its path', async () => {
    const [byPath, byName] = await Promise.all(
      [built.path('index.js'), 'millrace'].map(async specifier => {
        const code = `import { task } from ${JSON.stringify(specifier)}\nexport const one = task('one', () => 1)`
        return bundleFor(built, join(await makeProject({ 'tasks.ts': code }), 'tasks.ts'))
      }),
    )
    expect(byPath?.code).toContain(`from "${built.url('index.js').href}"`)
    expect(byPath?.hash).toBe(byName?.hash)
  })

  test('leaves functions as they were written, because some travel as text', async () => {
    const project = await makeProject({
      'tasks.ts': `
        import { task } from 'millrace'
        const inPage = () => { const pick = (n: number) => n + 1; return pick(1) }
        export const text = task('text', () => new Function('return (' + inPage.toString() + ')()')())`,
    })
    const { returned } = await loadInThread(built, join(project, 'tasks.ts'))
    expect(returned).toEqual({ text: 2 })
  })

  test('takes a compiled sibling where the TypeScript file is missing', async () => {
    const project = await makeProject({ 'tasks.js': oneTask, 'other.mjs': oneTask })
    const bundle = await bundleTasks(pathToFileURL(join(project, 'tasks.ts')))
    expect(bundle.file).toBe(join(project, 'tasks.js'))
    expect((await bundleTasks(join(project, 'other.ts'))).file).toBe(join(project, 'other.mjs'))
  })

  test.each([
    [
      'a missing file',
      'nothing.ts',
      /no task module .*nothing\.ts, nor a compiled .*nothing\.js or .*nothing\.mjs: give/,
    ],
    ['a folder', '.', /There is no task module/],
    ['a syntax error', 'syntax.ts', /Expected .* at .*\/syntax\.ts:3:9\. Correct that line/],
    ['an error on a line that we put something on', 'first.ts', /at .*\/first\.ts:1:26\./],
    ['an error in an imported file', 'importer.ts', /at .*\/syntax\.ts:3:9\./],
    [
      'a package that is not installed',
      'unresolved.ts',
      /Could not resolve "no-such-package" at .*\/unresolved\.ts:1:8\./,
    ],
  ])('says what is wrong and where with %s', async (_, file, message) => {
    const project = await makeProject({
      'syntax.ts': `\n// fine\nconst x y\n`,
      'first.ts': `const m = import.meta; m m`,
      'importer.ts': `import './syntax.ts'`,
      'unresolved.ts': `import 'no-such-package'`,
    })
    const failure: unknown = await bundleTasks(join(project, file)).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(TaskModuleError)
    expect((failure as TaskModuleError).message).toMatch(message)
  })

  test('refuses an address on another machine', async () => {
    await expect(bundleTasks(new URL('https://example.org/tasks.ts'))).rejects.toThrow(UsageError)
  })
})

/** Some real addon: the one that speeds up msgpackr on this machine. */
async function findAddon(): Promise<string> {
  const require = createRequire(createRequire(import.meta.url).resolve('msgpackr'))
  const folder = dirname(
    require.resolve(`@msgpackr-extract/msgpackr-extract-${process.platform}-${process.arch}/package.json`),
  )
  const addon = (await readdir(folder)).find(name => name.startsWith('node.napi') && !name.includes('musl'))
  if (addon === undefined) throw new Error(`no addon in ${folder}`)
  return join(folder, addon)
}
