import { stat } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { SnapshotError } from '../../errors.ts'
import { replyCode } from '../reply-error.ts'
import { addressOf, readInfo, readSetting, whereIs } from './info.ts'
import type { ServerSnapshot, SnapshotReport } from './reports.ts'

export interface SnapshotOptions {
  /** How long to wait for the verdict. */
  readonly timeoutMs: number
}

const pollMs = 50

/**
 * Has Redis write a snapshot (BGSAVE) and waits until it says that it is on disk. It holds everything that was
 * acknowledged before the call: one that was under way already is waited for, and another one made. In a Cluster every
 * master makes one; the report has each, and names the first's file and their bytes in all.
 *
 * @throws {SnapshotError} when it failed or was not finished in time.
 */
export async function takeSnapshot(servers: readonly Redis[], { timeoutMs }: SnapshotOptions): Promise<SnapshotReport> {
  const started = performance.now()
  const deadline = started + timeoutMs
  const verdicts = await Promise.allSettled(servers.map(server => snapshotOf(server, deadline)))
  const files = verdicts.filter(verdict => verdict.status === 'fulfilled').map(({ value }) => value)
  if (files.length < servers.length) throw togetherOf(servers, verdicts)
  const known = files.map(({ bytes }) => bytes)
  return {
    file: files[0]?.file ?? '',
    bytes: known.every(bytes => bytes !== undefined) ? known.reduce<number>((sum, bytes) => sum + bytes, 0) : undefined,
    durationMs: Math.round(performance.now() - started),
    servers: files,
  }
}

/** One error for all: the snapshots of a Cluster's other masters are on disk all the same. */
function togetherOf(servers: readonly Redis[], verdicts: readonly PromiseSettledResult<ServerSnapshot>[]): Error {
  const failed = verdicts.flatMap((verdict, index) =>
    verdict.status === 'rejected' ? [{ server: servers[index]!, reason: verdict.reason as Error }] : [],
  )
  const cause = failed[0]?.reason
  if (servers.length === 1 && cause !== undefined) return cause
  const each = failed.map(({ server, reason }) => `${addressOf(server)}: ${reason.message}`)
  return new SnapshotError(
    `${failed.length} of the Cluster's ${servers.length} masters made no snapshot, the others did. ${each.join(' ')}`,
    { cause },
  )
}

async function snapshotOf(server: Redis, deadline: number): Promise<ServerSnapshot> {
  await saveAndWait(server, deadline)
  return { server: addressOf(server), ...(await locate(server)) }
}

async function saveAndWait(server: Redis, deadline: number): Promise<void> {
  const before = await whenIdle(server, deadline)
  try {
    // SCHEDULE: while the append-only file is being rewritten the snapshot has to wait its turn.
    await server.call('bgsave', ['schedule'])
  } catch (error) {
    if (replyCode(error) === undefined) throw error
    throw failure(
      `Redis refused to make a snapshot (${error instanceof Error ? error.message : String(error)}).`,
      error,
    )
  }
  for (;;) {
    const now = await persistence(server)
    // The number grows when a snapshot begins, so an idle server with the old number has not come to ours yet.
    if (!now.running && now.snapshots > before.snapshots) {
      if (now.failed) throw failure('Redis could not write the snapshot.')
      return
    }
    await pause(deadline)
  }
}

async function whenIdle(server: Redis, deadline: number) {
  for (;;) {
    const now = await persistence(server)
    if (!now.running) return now
    await pause(deadline)
  }
}

async function persistence(server: Redis) {
  const info = await readInfo(server, 'persistence')
  return {
    running: info.text('rdb_bgsave_in_progress') === '1',
    failed: info.text('rdb_last_bgsave_status') === 'err',
    snapshots: info.number('rdb_saves'),
  }
}

async function pause(deadline: number): Promise<void> {
  if (performance.now() > deadline) {
    throw new SnapshotError(
      'The snapshot was not finished in time: Redis is still writing it, or waits for a rewrite of its append-only file. Ask for durability() later, or allow more time.',
    )
  }
  await sleep(pollMs)
}

function failure(what: string, cause?: unknown): SnapshotError {
  return new SnapshotError(
    `${what} Its log says why; most often the disk is full, the folder is not writable, or there is no memory for the fork.`,
    { cause },
  )
}

/** Where the file is, and its size if that is on this machine. */
async function locate(server: Redis): Promise<{ file: string; bytes: number | undefined }> {
  const [dir, name] = await Promise.all([readSetting(server, 'dir'), readSetting(server, 'dbfilename')])
  if (dir === undefined || name === undefined) return { file: '', bytes: undefined }
  const file = join(dir, name)
  if (!isAbsolute(file) || !isLocal(server)) return { file, bytes: undefined }
  try {
    return { file, bytes: (await stat(file)).size }
  } catch {
    return { file, bytes: undefined }
  }
}

function isLocal(server: Redis): boolean {
  const { path, host } = whereIs(server)
  return path !== undefined || host === 'localhost' || host === '::1' || host.startsWith('127.')
}
