import { mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import ts from 'typescript'
import { afterAll } from 'vitest'
import { removeWithThisProcess } from '../support/guardian.ts'

const repository = new URL('../../', import.meta.url)

/** What of the package's entry the tests of this folder need; the whole one stands on layers above. */
const entries: Readonly<Record<string, string>> = {
  'dist/index.js': `
    export * from './code/task.js'
    export * from './errors.js'
    export { isLoadingTasks } from './code/load.js'`,
  'dist/worker/index.js': `export const entry = 'worker'`,
  'package.json': JSON.stringify({
    name: 'millrace',
    version: '1.2.3',
    type: 'module',
    exports: { '.': './dist/index.js', './worker': './dist/worker/index.js' },
  }),
}

/** A copy of the package built from `src/code` as a user has it: JavaScript that plain Node runs. Removed after the tests of the file. */
export async function buildPackage(): Promise<BuiltPackage> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-test-package-'))
  removeWithThisProcess(folder)
  afterAll(() => rm(folder, { recursive: true, force: true }))
  const sources = ['errors.ts', ...(await readdir(new URL('src/code/', repository))).map(name => `code/${name}`)]
  for (const source of sources) {
    const text = await readFile(new URL(`src/${source}`, repository), 'utf8')
    await write(join(folder, 'dist', source.replace(/\.ts$/, '.js')), compile(text))
  }
  for (const [path, text] of Object.entries(entries)) await write(join(folder, path), text)
  await symlink(new URL('node_modules', repository), join(folder, 'node_modules'))
  return new BuiltPackage(folder)
}

export class BuiltPackage {
  readonly folder: string

  constructor(folder: string) {
    this.folder = folder
  }

  /** The path of a built file, like `code/load.js`. */
  path(file: string): string {
    return join(this.folder, 'dist', file)
  }

  url(file: string): URL {
    return pathToFileURL(this.path(file))
  }
}

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, text)
}

function compile(text: string): string {
  return ts.transpileModule(text, {
    compilerOptions: {
      target: ts.ScriptTarget.ES2023,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
      rewriteRelativeImportExtensions: true,
    },
  }).outputText
}
