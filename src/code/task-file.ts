import { stat } from 'node:fs/promises'
import { extname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { TaskModuleError, UsageError } from '../errors.ts'

/** What a compiler makes of a TypeScript file, by its extension, likeliest first. */
const compiledExtensions: Readonly<Record<string, readonly string[]>> = {
  '.ts': ['.js', '.mjs'],
  '.tsx': ['.js', '.mjs'],
  '.mts': ['.mjs'],
  '.cts': ['.cjs'],
}

/**
 * The absolute path of a task module. A program that was compiled still says `new URL('./tasks.ts', import.meta.url)`,
 * so where the TypeScript file is missing its compiled sibling is taken.
 *
 * @throws {TaskModuleError} when there is neither.
 */
export async function findTaskFile(file: string | URL): Promise<string> {
  const path = toPath(file)
  const extension = extname(path)
  const stem = path.slice(0, path.length - extension.length)
  const siblings = (compiledExtensions[extension] ?? []).map(compiled => stem + compiled)
  for (const candidate of [path, ...siblings]) {
    if (await isFile(candidate)) return candidate
  }
  const tried = siblings.length === 0 ? '' : `, nor a compiled ${siblings.join(' or ')}`
  throw new TaskModuleError(
    `There is no task module ${path}${tried}: give the path of the file that exports your tasks, relative to the ` +
      `current folder, or as new URL('./tasks.ts', import.meta.url).`,
  )
}

function toPath(file: string | URL): string {
  if (typeof file === 'string' && !file.startsWith('file:')) return resolve(file)
  try {
    return fileURLToPath(file)
  } catch (error) {
    throw new UsageError(`The task module ${String(file)} is not on this machine: give a path or a file: URL.`, {
      cause: error,
    })
  }
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile()
  } catch {
    return false
  }
}
