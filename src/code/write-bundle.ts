import { createHash, randomBytes } from 'node:crypto'
import { mkdir, readFile, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { TaskModuleError } from '../errors.ts'
import type { TaskBundle } from './bundle.ts'
import { openDefaultCodeFolder } from './cache-folder.ts'

/** A bundle that nobody has asked for in this time is removed when another one is written. */
const keptMs = 30 * 24 * 60 * 60 * 1000

/**
 * Puts a bundle where threads can import it and gives its address. The file is named by its content and appears whole
 * or not at all, so any number of processes may write the same one. Call it before each start of a thread: the system
 * may have emptied its temporary folder since the last.
 *
 * @param folder a private folder of this user is used where none is given.
 * @throws {TaskModuleError} when the folder can't be written, or belongs to somebody else.
 */
export async function writeBundle(bundle: TaskBundle, folder?: string): Promise<URL> {
  const home = folder ?? (await openDefaultCodeFolder())
  const map = Buffer.from(bundle.sourceMap).toString('base64')
  const text = `${bundle.code}\n//# sourceMappingURL=data:application/json;base64,${map}\n`
  const name = `${bundle.hash}-${createHash('sha256').update(text).digest('hex').slice(0, 16)}.mjs`
  const file = join(home, name)
  try {
    await mkdir(home, { recursive: true, mode: 0o700 })
    if (await holds(file, text)) {
      const now = new Date()
      await utimes(file, now, now)
    } else {
      await writeWhole(file, text)
      await removeForgotten(home)
    }
  } catch (error) {
    throw new TaskModuleError(
      `The bundled task module can't be written to ${home}: make the folder writable and its disk have room.`,
      { cause: error },
    )
  }
  return pathToFileURL(file)
}

/** Compared, not just looked for: a machine that lost power may have kept the name and lost the content. */
async function holds(file: string, text: string): Promise<boolean> {
  try {
    return (await readFile(file, 'utf8')) === text
  } catch {
    return false
  }
}

async function writeWhole(file: string, text: string): Promise<void> {
  const draft = `${file}.${randomBytes(6).toString('hex')}.draft`
  try {
    await writeFile(draft, text, { mode: 0o600, flag: 'wx' })
    await rename(draft, file)
  } catch (error) {
    await rm(draft, { force: true })
    throw error
  }
}

async function removeForgotten(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!/^[\da-f]{16}-[\da-f]{16}\.mjs(?:\.[\da-f]{12}\.draft)?$/.test(name)) continue
    const file = join(folder, name)
    // Another process may be removing the same one.
    const stats = await stat(file).catch(() => undefined)
    if (stats !== undefined && Date.now() - stats.mtimeMs > keptMs) await rm(file, { force: true })
  }
}
