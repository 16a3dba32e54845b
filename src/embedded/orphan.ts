import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { hasErrorCode } from './error-code.ts'
import type { Place } from './place.ts'
import { STARTING } from './redis-process.ts'
import { askInfo } from './resp.ts'

const POLL_MS = 20
const INFO_TIMEOUT_MS = 1_000
/** A server spawned just before its supervisor was killed writes its pid well within this time. */
const PID_TIMEOUT_MS = 3_000
/** By then it has synced its append only file, which comes before the snapshot. */
const SAVE_TIMEOUT_MS = 60_000

/**
 * Ends the Redis that a killed supervisor left behind, so that never two servers write the same files. It is stopped, not
 * adopted: a server has one parent that hears of its death, and its clients survive a restart anyway.
 * The caller holds the place. `onProgress` is called while the orphan saves.
 */
export async function stopOrphan(place: Place, onProgress: () => void): Promise<void> {
  const pid = await findOrphan(place)
  if (pid === undefined) return
  signal(pid, 'SIGTERM')
  const forceAt = performance.now() + SAVE_TIMEOUT_MS
  while (await isOurRedis(pid, place)) {
    if (performance.now() > forceAt) signal(pid, 'SIGKILL')
    onProgress()
    await delay(POLL_MS)
  }
}

async function findOrphan(place: Place): Promise<number | undefined> {
  const written = await pidFromFile(place)
  if (written !== undefined && (await isOurRedis(written, place))) return written
  // The pid file may have been lost; the socket, whose name and folder are ours, may still answer.
  const info = await askInfo(place.redisSocket, 'server', INFO_TIMEOUT_MS)
  const answered = Number(info.get('process_id'))
  return Number.isInteger(answered) && (await isOurRedis(answered, place)) ? answered : undefined
}

async function pidFromFile({ pidFile }: Place): Promise<number | undefined> {
  const until = performance.now() + PID_TIMEOUT_MS
  for (;;) {
    const content = await readIfThere(pidFile)
    const pid = Number(content)
    if (Number.isInteger(pid) && pid > 0) return pid
    if (content !== STARTING || performance.now() > until) return undefined
    await delay(POLL_MS)
  }
}

/** Whether the process is a server on this place's socket: a pid alone may long be another program's. */
async function isOurRedis(pid: number, place: Place): Promise<boolean> {
  // Redis shows its socket in its process title, and had it among its arguments before.
  return (await commandLine(pid)).includes(basename(place.redisSocket))
}

/** The command line of a process; empty if there is none, or only a zombie. */
async function commandLine(pid: number): Promise<string> {
  if (process.platform === 'linux') return (await readIfThere(`/proc/${pid}/cmdline`)) ?? ''
  return new Promise(resolve => {
    execFile('ps', ['-ww', '-o', 'command=', '-p', String(pid)], (error, stdout) => {
      resolve(error === null ? stdout : '')
    })
  })
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return (await readFile(file, 'utf8')).trim()
  } catch (error) {
    // ESRCH: the process ended while its file was read.
    if (hasErrorCode(error, 'ENOENT', 'ESRCH')) return undefined
    throw error
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if (!hasErrorCode(error, 'ESRCH')) throw error
  }
}
