import { execFile } from 'node:child_process'
import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { basename, delimiter, join } from 'node:path'
import { RedisServerMissingError, RedisVersionError } from '../errors.ts'

/** A server program that Millrace can run. */
export interface RedisProgram {
  /** Absolute path, as found: not resolved, since `redis-server` may be a link to a program that looks at its own name. */
  readonly program: string
  readonly version: string
  readonly kind: 'redis' | 'valkey'
}

const OLDEST = { redis: [7, 0], valkey: [7, 2] } as const

/**
 * The first `redis-server` or `valkey-server` on `PATH` that is new enough.
 * Throws {@link RedisServerMissingError} if there is none at all, {@link RedisVersionError} if all are too old.
 */
export async function findRedisServer(): Promise<RedisProgram> {
  const tooOld: RedisProgram[] = []
  for (const program of await programsOnPath(['redis-server', 'valkey-server'])) {
    const found = await askVersion(program)
    if (found === undefined) continue
    if (isNewEnough(found)) return found
    tooOld.push(found)
  }
  const [old] = tooOld
  if (old === undefined) {
    throw new RedisServerMissingError(
      'Neither redis-server nor valkey-server is on PATH: install one (Debian, Ubuntu: `apt install redis-server`; macOS: `brew install redis`), or give the URL of a Redis.',
    )
  }
  throw new RedisVersionError(
    `${old.program} is version ${old.version}, and Millrace needs Redis 7.0 or Valkey 7.2: install a newer one, or give the URL of a newer Redis.`,
  )
}

/** Reads the answer of `redis-server --version`; undefined if it is not the answer of a Redis or Valkey server. */
export function parseVersion(program: string, answer: string): RedisProgram | undefined {
  const version = /\bv=(\d+\.\d+\.\d+)/.exec(answer)?.[1]
  if (version === undefined) return undefined
  const valkey = /valkey/i.test(answer) || basename(program) === 'valkey-server'
  return { program, version, kind: valkey ? 'valkey' : 'redis' }
}

/** Whether the version is one that Millrace works with: Redis 7.0, Valkey 7.2, or later. */
export function isNewEnough({ version, kind }: Pick<RedisProgram, 'version' | 'kind'>): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [oldestMajor, oldestMinor] = OLDEST[kind]
  return major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)
}

async function programsOnPath(names: readonly string[]): Promise<string[]> {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter(folder => folder !== '')
  const found: string[] = []
  for (const name of names) {
    for (const folder of folders) {
      const program = join(folder, name)
      if (await isExecutable(program)) found.push(program)
    }
  }
  return found
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

async function askVersion(program: string): Promise<RedisProgram | undefined> {
  const answer = await new Promise<string>(resolve => {
    execFile(program, ['--version'], { timeout: 5_000 }, (error, stdout) => {
      resolve(error === null ? stdout : '')
    })
  })
  return parseVersion(program, answer)
}
