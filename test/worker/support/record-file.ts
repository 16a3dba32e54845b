import { mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { removeWithThisProcess } from '../../support/guardian.ts'

/** A file for the task `recorded`, which writes a line when it starts: a claim alone does not say that a task runs. */
export async function recordFile(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-'))
  removeWithThisProcess(folder)
  return join(folder, 'ran')
}

export async function linesOf(file: string): Promise<string[]> {
  return (await readFile(file, 'utf8').catch(() => '')).split('\n').filter(line => line !== '')
}
