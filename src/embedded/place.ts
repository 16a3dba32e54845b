import { createHash } from 'node:crypto'
import { lstat, mkdir, realpath, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { EmbeddedRedisError } from '../errors.ts'
import { hasErrorCode } from './error-code.ts'

/** Where the embedded Redis of one project keeps its files. Everything follows from `dataDir` and `runFolder`. */
export interface Place {
  /** The real path of `<project>/.millrace/redis`: data, log, pid file, and the announcement of the supervisor. */
  readonly dataDir: string
  /** The private folder of this user for sockets. */
  readonly runFolder: string
  /** Stands for `dataDir` in the names of the sockets. */
  readonly hash: string
  readonly redisSocket: string
  readonly pidFile: string
  readonly logFile: string
}

/** Socket paths stop at 108 bytes on Linux and at 104 on macOS. */
const SOCKET_PATH_LIMIT_BYTES = 100

/** Makes the data folder and the run folder where they are missing. Throws {@link EmbeddedRedisError}. */
export async function openPlace(projectDir: string): Promise<Place> {
  const dataDir = await openDataDir(projectDir)
  const runFolder = chooseRunFolder(tmpdir(), userId(), projectHash(dataDir))
  await openRunFolder(runFolder, userId())
  return describePlace(dataDir, runFolder)
}

/** The place that two folders make: what a supervisor is told. `dataDir` is a real path. */
export function describePlace(dataDir: string, runFolder: string): Place {
  const hash = projectHash(dataDir)
  return {
    dataDir,
    runFolder,
    hash,
    redisSocket: join(runFolder, `${hash}.redis.sock`),
    pidFile: join(dataDir, 'redis.pid'),
    logFile: join(dataDir, 'redis.log'),
  }
}

/** The control socket of the supervisor with this id. Ids are never used twice, so nobody else's socket is ever in the way. */
export function controlSocketPath(runFolder: string, hash: string, supervisorId: string): string {
  return join(runFolder, `${hash}-${supervisorId}.sock`)
}

/** The folder for sockets: in the system's temporary folder, or in `/tmp` where that makes socket paths too long. */
export function chooseRunFolder(temporaryFolder: string, uid: number, hash: string): string {
  const preferred = join(resolve(temporaryFolder), `millrace-${uid}`)
  const longest = controlSocketPath(preferred, hash, 'f'.repeat(8))
  return Buffer.byteLength(longest) < SOCKET_PATH_LIMIT_BYTES ? preferred : `/tmp/millrace-${uid}`
}

/** Makes the folder for sockets, or accepts it only if it is ours alone: whoever can write there can pose as our Redis. */
export async function openRunFolder(runFolder: string, uid: number): Promise<void> {
  try {
    await mkdir(runFolder, { mode: 0o700 })
  } catch (error) {
    if (!hasErrorCode(error, 'EEXIST')) {
      throw new EmbeddedRedisError(
        `The folder for sockets ${runFolder} cannot be made: set TMPDIR to a folder of yours.`,
        {
          cause: error,
        },
      )
    }
  }
  const stats = await lstat(runFolder)
  if (stats.isDirectory() && stats.uid === uid && (stats.mode & 0o777) === 0o700) return
  throw new EmbeddedRedisError(
    `The folder for sockets ${runFolder} is not a folder of this user alone (mode 0700), so that somebody else could ` +
      `pose as your Redis there: remove it, or set TMPDIR to a folder of yours.`,
  )
}

async function openDataDir(projectDir: string): Promise<string> {
  try {
    // Not made here: a mistyped project must not become a new folder.
    const dataDir = join(await realpath(projectDir), '.millrace', 'redis')
    await mkdir(dataDir, { recursive: true, mode: 0o700 })
    await ignoreInGit(dirname(dataDir))
    return await realpath(dataDir)
  } catch (error) {
    throw new EmbeddedRedisError(
      `The data folder of the embedded Redis cannot be made in ${projectDir}: make that folder writable, or give the URL of a Redis.`,
      { cause: error },
    )
  }
}

async function ignoreInGit(folder: string): Promise<void> {
  try {
    await writeFile(join(folder, '.gitignore'), '*\n', { flag: 'wx' })
  } catch (error) {
    if (!hasErrorCode(error, 'EEXIST')) throw error
  }
}

function projectHash(dataDir: string): string {
  return createHash('sha256').update(dataDir).digest('hex').slice(0, 16)
}

function userId(): number {
  return process.getuid?.() ?? 0
}
