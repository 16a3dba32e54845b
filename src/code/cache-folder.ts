import { lstat, mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { TaskModuleError } from '../errors.ts'

/** Where the bundles of this user are kept when no folder is given. */
export function defaultCodeFolder(): string {
  return join(tmpdir(), `millrace-${userId()}`, 'code')
}

/**
 * Makes the folder and the one above it, or accepts them only if they are this user's alone: whoever can write there
 * decides what the workers run.
 *
 * @throws {TaskModuleError} when they cannot be made or belong to somebody else.
 */
export async function openDefaultCodeFolder(folder = defaultCodeFolder()): Promise<string> {
  await openPrivate(dirname(folder))
  await openPrivate(folder)
  return folder
}

async function openPrivate(folder: string): Promise<void> {
  try {
    await mkdir(folder, { mode: 0o700 })
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) {
      throw new TaskModuleError(
        `The folder for bundled code ${folder} can't be made: set TMPDIR to a folder of yours.`,
        {
          cause: error,
        },
      )
    }
  }
  const stats = await lstat(folder)
  // Windows has no user ids and no modes; its temporary folder is the user's own.
  const ours = process.getuid === undefined || (stats.uid === userId() && (stats.mode & 0o077) === 0)
  if (stats.isDirectory() && ours) return
  throw new TaskModuleError(
    `The folder for bundled code ${folder} is not a folder of this user alone (mode 0700), so that somebody else could ` +
      `make your workers run other code: remove it, or set TMPDIR to a folder of yours.`,
  )
}

function userId(): number {
  return process.getuid?.() ?? 0
}
