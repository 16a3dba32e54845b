import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { ModuleKind, ScriptTarget, transpileModule } from 'typescript'
import type { Mutation } from './list.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const copied = ['src', 'dist', 'test', 'chaos', 'package.json', 'tsconfig.json', 'vitest.config.ts']

/** How a command ended. */
export interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A copy of the sources and of what was built from them, in which something may be broken. */
export class Tree implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'millrace-mutant-'))

  constructor() {
    for (const name of copied) cpSync(join(root, name), join(this.folder, name), { recursive: true })
    symlinkSync(join(root, 'node_modules'), join(this.folder, 'node_modules'))
  }

  /** Puts the mutation into the source and into what was built from it, and takes it out again when `use` has ended. */
  async with<T>({ file, from, to }: Mutation, use: () => Promise<T>): Promise<T> {
    const source = join(this.folder, file)
    const built = join(this.folder, file.replace(/^src/, 'dist').replace(/\.ts$/, '.js'))
    const originals = [source, built].map(path => ({ path, text: readFileSync(path, 'utf8') }))
    const mutant = mutate(readFileSync(source, 'utf8'), from, to, file)
    writeFileSync(source, mutant)
    writeFileSync(built, compile(mutant))
    try {
      return await use()
    } finally {
      for (const { path, text } of originals) writeFileSync(path, text)
    }
  }

  /** Runs `node ARGS…` in the copy. */
  async run(args: readonly string[], timeoutMs: number): Promise<Outcome> {
    const options = { cwd: this.folder, timeout: timeoutMs, maxBuffer: 256 * 1024 * 1024 }
    try {
      return { code: 0, ...(await promisify(execFile)(process.execPath, args, options)) }
    } catch (error) {
      const { code, stdout = '', stderr = '' } = error as { code?: unknown; stdout?: string; stderr?: string }
      return { code: typeof code === 'number' ? code : -1, stdout, stderr }
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** As the build does, but without looking at types: a mutation may leave names unused. */
function compile(source: string): string {
  const compilerOptions = {
    target: ScriptTarget.ES2023,
    module: ModuleKind.ESNext,
    verbatimModuleSyntax: true,
    rewriteRelativeImportExtensions: true,
  }
  return transpileModule(source, { compilerOptions }).outputText
}

/** @throws when the text does not stand exactly once in the file: the list must follow the source. */
export function mutate(source: string, from: string, to: string, file: string): string {
  const found = source.split(from).length - 1
  if (found !== 1)
    throw new Error(`${file} has ${found} places that read ${JSON.stringify(from)}: correct the mutation`)
  return source.replace(from, () => to)
}
