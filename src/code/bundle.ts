import { build } from 'esbuild'
import type { BuildFailure, BuildOptions, Loader, Message, Plugin } from 'esbuild'
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { dirname, extname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { TaskModuleError } from '../errors.ts'
import { nameByAddress, nameByIdentity, outsidePlugin } from './outside-plugin.ts'
import { runningPackage } from './package-entry.ts'
import type { PackageEntry } from './package-entry.ts'
import { Packages } from './packages.ts'
import { bundleBanner, scopeAnonymously, scopeColumns, scopeDefines, scopeSource } from './source-scope.ts'
import { findTaskFile } from './task-file.ts'

/** A task module with all of the project's own code that it imports, as one ES module. */
export interface TaskBundle {
  /** The absolute path of the task module's source. */
  readonly file: string
  /** Installed packages stay outside, imported by their absolute addresses on this machine. */
  readonly code: string
  /** 16 hexadecimal digits that name what the code does: alike on every machine and in every folder. */
  readonly hash: string
  /** Maps `code` to the sources, as JSON. */
  readonly sourceMap: string
}

/** Options of {@link bundleTasks}. */
export interface BundleOptions {
  /** What `millrace` and `millrace/worker` mean in the task module. @default the copy that is running */
  readonly packageEntry?: PackageEntry
}

/**
 * Bundles a task module and everything of the project that it imports, without running any of it. Comments, white
 * space and paths are not in the hash, nor are packages beyond those that the project's own code imports.
 *
 * @throws {TaskModuleError} when the module is missing or cannot be compiled.
 */
export async function bundleTasks(file: string | URL, options: BundleOptions = {}): Promise<TaskBundle> {
  const path = await findTaskFile(file)
  const project: Project = {
    path,
    entry: options.packageEntry ?? runningPackage(),
    packages: new Packages(),
    sources: new Sources(),
  }
  try {
    const identity = buildIdentity(project)
    // What can't be built fails in both. Only the other one knows in which column.
    identity.catch(() => undefined)
    const { code, sourceMap } = await buildCode(project)
    const hash = createHash('sha256')
      .update(await identity)
      .digest('hex')
      .slice(0, 16)
    return { file: path, code, hash, sourceMap }
  } catch (error) {
    throw await describeFailure(error, project)
  }
}

/** What the two builds of a task module share. */
interface Project {
  readonly path: string
  readonly entry: PackageEntry
  readonly packages: Packages
  readonly sources: Sources
}

async function buildCode({ path, entry, packages, sources }: Project): Promise<{ code: string; sourceMap: string }> {
  const { outputFiles } = await build({
    ...commonOptions(path),
    banner: { js: bundleBanner(path) },
    sourcemap: 'external',
    sourcesContent: false,
    outfile: `${path}.bundle.mjs`,
    plugins: [outsidePlugin(entry, packages, nameByAddress), sources.plugin(scopeSource)],
  })
  return {
    code: outputText(outputFiles, '.mjs'),
    sourceMap: absoluteSources(outputText(outputFiles, '.map'), path),
  }
}

/** The code without whatever depends on where it lies, as text to be hashed. */
async function buildIdentity({ path, entry, packages, sources }: Project): Promise<string> {
  const { outputFiles } = await build({
    ...commonOptions(path),
    minifyWhitespace: true,
    // Names of variables may be made from names of files.
    minifyIdentifiers: true,
    keepNames: true,
    plugins: [outsidePlugin(entry, packages, nameByIdentity(packages, entry)), sources.plugin(scopeAnonymously)],
  })
  return outputText(outputFiles, '')
}

/**
 * `keepNames` is left to the hash: it would set the name of every inner function each time one is made (2 µs a closure),
 * and break functions that travel as text, as into a browser. Only a top-level name that two files share is lost by it.
 */
function commonOptions(path: string) {
  return {
    entryPoints: [path],
    absWorkingDir: dirname(path),
    bundle: true,
    write: false,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    // Node's own conditions; esbuild would add `module`, which Node does not know.
    conditions: ['node-addons', 'module-sync'],
    define: { ...scopeDefines },
    // What a package.json or a comment calls free of side effects may still have them, and Node would run them.
    ignoreAnnotations: true,
    legalComments: 'none',
    charset: 'utf8',
    logLevel: 'silent',
  } as const satisfies BuildOptions
}

/** Reads each source once, so that both builds see the same text even while somebody saves it. */
class Sources {
  readonly #texts = new Map<string, Promise<string>>()

  /** How many columns the first line of a source was moved by. */
  async shiftOf(path: string): Promise<number> {
    const source = await this.#texts.get(path)
    return source === undefined || loaderOf(path) === 'json' ? 0 : scopeColumns(source, path)
  }

  #read(path: string): Promise<string> {
    let text = this.#texts.get(path)
    if (text === undefined) {
      text = readFile(path, 'utf8')
      this.#texts.set(path, text)
    }
    return text
  }

  plugin(prepare: (source: string, path: string) => string): Plugin {
    return {
      name: 'millrace-sources',
      setup: builder => {
        builder.onLoad({ filter: /\.(?:[cm]?[jt]s|[jt]sx|json)$/, namespace: 'file' }, async ({ path }) => {
          const loader = loaderOf(path)
          const source = await this.#read(path)
          return { contents: loader === 'json' ? source : prepare(source, path), loader }
        })
      },
    }
  }
}

function loaderOf(path: string): Loader {
  const extension = extname(path)
  if (extension === '.json') return 'json'
  if (extension === '.tsx' || extension === '.jsx') return extension === '.tsx' ? 'tsx' : 'jsx'
  return extension.endsWith('ts') ? 'ts' : 'js'
}

function outputText(files: readonly { path: string; text: string }[], extension: string): string {
  const file = files.find(({ path }) => path.endsWith(extension))
  if (file === undefined) throw new Error(`esbuild made no ${extension} file`)
  return file.text
}

/** The map goes where the bundle goes, so its sources are named by their addresses. */
function absoluteSources(sourceMap: string, path: string): string {
  const map = JSON.parse(sourceMap) as { sources: string[] }
  const sources = map.sources.map(source => pathToFileURL(resolve(dirname(path), source)).href)
  return JSON.stringify({ ...map, sources })
}

async function describeFailure(error: unknown, { path, sources }: Project): Promise<TaskModuleError> {
  const first = isBuildFailure(error) ? error.errors[0] : undefined
  if (first === undefined) {
    const message = error instanceof Error ? error.message : String(error)
    return new TaskModuleError(
      `The task module ${path} can't be bundled: ${message}. If the module itself is fine, install Millrace's packages anew.`,
      { cause: error },
    )
  }
  const where = await describeLocation(first, path, sources)
  return new TaskModuleError(
    `The task module ${path} can't be bundled: ${first.text}${where}. Correct that line, or install the package it names, and start again.`,
  )
}

async function describeLocation({ location }: Message, path: string, sources: Sources): Promise<string> {
  if (location === null) return ''
  const file = resolve(dirname(path), location.file)
  const shift = location.line === 1 ? await sources.shiftOf(file) : 0
  return ` at ${file}:${location.line}:${Math.max(0, location.column - shift) + 1}`
}

function isBuildFailure(error: unknown): error is BuildFailure {
  return error instanceof Error && 'errors' in error && Array.isArray(error.errors)
}
