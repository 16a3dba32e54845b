import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { onTestFinished } from 'vitest'
import { removeWithThisProcess } from '../support/guardian.ts'

/** The files of a project: text by path. */
export type Files = Readonly<Record<string, string>>

/** A new folder that is gone when the test is over. */
export async function makeFolder(prefix = 'project'): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), `millrace-test-${prefix}-`))
  removeWithThisProcess(folder)
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** A new folder with these files, gone when the test is over. */
export async function makeProject(files: Files, prefix?: string): Promise<string> {
  const folder = await makeFolder(prefix)
  await writeFiles(folder, files)
  return folder
}

export async function writeFiles(folder: string, files: Files): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
}

/** The files of an installed package. */
export function installed(name: string, manifest: Readonly<Record<string, unknown>>, files: Files): Files {
  const at = (path: string): string => `node_modules/${name}/${path}`
  return {
    [at('package.json')]: JSON.stringify({ name, version: '1.0.0', ...manifest }),
    ...Object.fromEntries(Object.entries(files).map(([path, text]) => [at(path), text])),
  }
}
