import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { hasErrorCode } from './error-code.ts'
import type { Place } from './place.ts'
import { STARTING } from './redis-process.ts'
import { askInfo } from './resp.ts'

const POLL_MS = 20
const INFO_TIMEOUT_MS = 1_000
/** A process that was forked for Redis runs Redis within this time. */
const EXEC_TIMEOUT_MS = 500
/** By then Redis has synced its append only file, which it does before it saves the snapshot. */
const SAVE_TIMEOUT_MS = 60_000
const SIGNAL_EVERY_MS = 500

/**
 * Ends the Redis that a killed supervisor left behind, so that never two servers write the same files. It is stopped, not
 * adopted: a server has one parent that hears of its death, and its clients survive a restart anyway.
 * The caller holds the place. `onProgress` is called while the orphan saves.
 */
export async function stopOrphan(place: Place, onProgress: () => void): Promise<void> {
  let orphans = await findOrphans(place)
  if (orphans.length === 0) return
  const info = await askInfo(place.redisSocket, 'persistence', INFO_TIMEOUT_MS)
  // While it loads it has accepted no writes; and SIGTERM then ends it by an `exit` inside the signal handler, which may hang.
  const saveMs = info.get('loading') === '1' ? 0 : SAVE_TIMEOUT_MS
  const from = performance.now()
  for (let round = 0; orphans.length > 0; orphans = await serversOf(place)) {
    const waitedMs = performance.now() - from
    // Sent again and again: Redis forgets a SIGTERM that comes while it starts.
    if (waitedMs >= round * SIGNAL_EVERY_MS) {
      for (const pid of orphans) signal(pid, waitedMs < saveMs ? 'SIGTERM' : 'SIGKILL')
      round++
    }
    onProgress()
    await delay(POLL_MS)
  }
}

async function findOrphans(place: Place): Promise<number[]> {
  // The last supervisor may have been killed while it forked: what it left may not be a Redis yet.
  const until = performance.now() + EXEC_TIMEOUT_MS
  for (;;) {
    const found = await serversOf(place)
    if (found.length > 0 || performance.now() > until) return found
    if ((await readIfThere(place.pidFile)) !== STARTING) return found
    await delay(POLL_MS)
  }
}

/**
 * The servers that run on a place's data. Looked up among all processes, by the socket, whose name stands for the data folder:
 * a pid from a file may be missing or be another program's by now.
 */
async function serversOf({ redisSocket }: Place): Promise<number[]> {
  const found: number[] = []
  for (const [pid, command] of await commandLines()) {
    // Redis has its socket among its arguments, and later in its title; its forks that save have another name.
    if (/-server[\0 ]/.test(command) && command.includes(basename(redisSocket))) found.push(pid)
  }
  return found
}

/** The command line of every process that is not a zombie. */
async function commandLines(): Promise<(readonly [pid: number, command: string])[]> {
  if (process.platform !== 'linux') return psLines()
  const pids = (await readdir('/proc')).filter(name => /^\d+$/.test(name))
  return Promise.all(pids.map(async pid => [Number(pid), (await readIfThere(`/proc/${pid}/cmdline`)) ?? ''] as const))
}

async function psLines(): Promise<(readonly [pid: number, command: string])[]> {
  const { stdout } = await promisify(execFile)('ps', ['-axww', '-o', 'pid=,command='], { maxBuffer: 1 << 26 })
  const lines = stdout.split('\n').map(line => line.trim())
  return lines.map(line => [Number.parseInt(line, 10), line] as const)
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
