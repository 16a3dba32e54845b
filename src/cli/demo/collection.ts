import { existsSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { UsageError } from '../../errors.ts'

/** A collection of texts on this machine's disk. */
export interface Collection {
  readonly folder: string
  /** What was taken from the folder, in words. */
  readonly description: string
  readonly files: readonly TextFile[]
  readonly bytes: number
}

/** One text of a collection. */
export interface TextFile {
  readonly path: string
  readonly bytes: number
}

/** A text larger than this is left out: it would be one long task. */
const MOST_FILE_BYTES = 4 * 1024 * 1024
/** A mistyped folder such as `/` must not be walked for ever. */
const MOST_FILES = 200_000

const PACKAGE_TEXT = /^(?:readme|licen[cs]e|changelog|history|notice|copying)(?:[.-].*)?$|\.d\.[cm]?ts$/i
const ANY_TEXT =
  /^[^.]+$|\.(?:txt|text|md|markdown|rst|adoc|org|tex|html?|xml|csv|tsv|json|ya?ml|toml|ini|log|srt|[cm]?[jt]sx?|py|rb|go|rs|c|h|cc|cpp|hpp|java|kt|swift|php|pl|lua|sh|sql|css)$/i

/** The texts below a folder. @throws {UsageError} when it is no folder or holds no text. */
export async function folderCollection(folder: string): Promise<Collection> {
  const root = resolve(folder)
  const found = await stat(root).catch(() => undefined)
  if (!found?.isDirectory()) {
    throw new UsageError(
      `There is no folder ${root}. The demo counts the words of the texts below a folder: name one that exists, or none at all.`,
    )
  }
  const collection = await collect(root, ANY_TEXT, 'text files')
  if (collection.files.length > 0) return collection
  throw new UsageError(
    `The folder ${root} holds no text files, so that there are no words to count. Name another folder, or none at all.`,
  )
}

/** READMEs, licences and type declarations of the packages installed in a project, or else beside Millrace itself. */
export async function packagesCollection(projectDir: string): Promise<Collection> {
  const candidates = [join(projectDir, 'node_modules'), ...modulesAbove(fileURLToPath(import.meta.url))]
  for (const folder of candidates.filter(candidate => existsSync(candidate))) {
    const collection = await collect(folder, PACKAGE_TEXT, 'READMEs, licences and declarations')
    if (collection.files.length > 0) return collection
  }
  throw new UsageError(
    'There are no installed packages here whose texts the demo could read. Name a folder with text files: millrace demo FOLDER.',
  )
}

/** Groups of neighbouring files of about `groupBytes` each: most files are far too small to be a task each. */
export function groupFiles(files: readonly TextFile[], groupBytes: number): string[][] {
  const groups: string[][] = []
  let group: string[] = []
  let bytes = 0
  for (const file of files) {
    if (group.length > 0 && bytes + file.bytes > groupBytes) {
      groups.push(group)
      group = []
      bytes = 0
    }
    group.push(file.path)
    bytes += file.bytes
  }
  if (group.length > 0) groups.push(group)
  return groups
}

async function collect(folder: string, names: RegExp, description: string): Promise<Collection> {
  const files: TextFile[] = []
  await walk(folder, names, files)
  return { folder, description, files, bytes: files.reduce((sum, file) => sum + file.bytes, 0) }
}

/** Symbolic links are not followed: pnpm's would count every package many times. */
async function walk(folder: string, names: RegExp, files: TextFile[]): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  entries.sort((a, b) => (a.name < b.name ? -1 : 1))
  for (const entry of entries) {
    if (files.length >= MOST_FILES) return
    const path = join(folder, entry.name)
    if (entry.isDirectory()) {
      if (entry.name !== '.git' && entry.name !== '.millrace') await walk(path, names, files)
    } else if (entry.isFile() && names.test(entry.name)) {
      const { size } = await stat(path).catch(() => ({ size: 0 }))
      if (size > 0 && size <= MOST_FILE_BYTES) files.push({ path, bytes: size })
    }
  }
}

function modulesAbove(path: string): string[] {
  const parent = dirname(path)
  return parent === path ? [] : [join(parent, 'node_modules'), ...modulesAbove(parent)]
}
