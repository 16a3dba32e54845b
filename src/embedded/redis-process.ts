import { spawn } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { Appendfsync } from './control.ts'
import { logSize } from './log-file.ts'
import type { Place } from './place.ts'
import { askInfo, askRedis } from './resp.ts'

/** What the pid file holds from before the start of Redis until Redis writes its pid there. */
export const STARTING = 'starting'

/** How a `redis-server` ended. `code` is undefined where a signal ended it; `error` is set where it could not be run. */
export interface RedisExit {
  readonly code: number | undefined
  readonly how: string
}

/** A running `redis-server`, a child of this process. */
export interface RedisProcess {
  /** Resolves when it has ended. Never rejects. */
  readonly exited: Promise<RedisExit>
  /** The log's size when it was started: what comes after is its own. */
  readonly logMark: number
  /** Resolves to true when it answers, with its data loaded; false if it ended before. `onProgress` gets the bytes loaded so far. */
  untilReady(onProgress: (loadedBytes: number) => void): Promise<boolean>
  setAppendfsync(value: Appendfsync): Promise<void>
  /** Lets it save and end, by force if it won't. Resolves when it has ended. */
  stop(): Promise<void>
  /** Ends it as a crash would. */
  kill(): void
}

const PROBE_MS = 25
const PROBE_TIMEOUT_MS = 1_000
/** By then Redis has written and synced its append only file, which it does before it saves the RDB snapshot. */
const SAVE_TIMEOUT_MS = 60_000

/** Starts `redis-server` on the data of a place. The caller is the only supervisor there and knows that no other server runs. */
export function startRedis(place: Place, program: string, appendfsync: Appendfsync): RedisProcess {
  const logMark = logSize(place.logFile)
  // A socket left by a killed server must not be mistaken for this one's.
  rmSync(place.redisSocket, { force: true })
  writeFileSync(place.pidFile, `${STARTING}\n`)
  const child = spawn(program, redisArguments(place, appendfsync), { stdio: ['ignore', 'inherit', 'inherit'] })
  let running = true
  let ready = false
  const exited = new Promise<RedisExit>(resolve => {
    child.once('error', error => {
      resolve({ code: -1, how: error.message })
    })
    child.once('exit', (code, signal) => {
      resolve(code === null ? { code: undefined, how: `signal ${signal ?? ''}` } : { code, how: `exit code ${code}` })
    })
  }).finally(() => {
    running = false
  })

  return {
    exited,
    logMark,
    async untilReady(onProgress) {
      while (running) {
        const reply = await askRedis(place.redisSocket, ['PING'], PROBE_TIMEOUT_MS)
        if (reply !== undefined && 'text' in reply) {
          ready = true
          return running
        }
        if (reply !== undefined) onProgress(await loadedBytes(place.redisSocket))
        await Promise.race([delay(PROBE_MS), exited])
      }
      return false
    },
    async setAppendfsync(value) {
      await askRedis(place.redisSocket, ['CONFIG', 'SET', 'appendfsync', value], PROBE_TIMEOUT_MS)
    },
    async stop() {
      // Before it is ready it has accepted no writes, and does not always hear a SIGTERM.
      if (!ready) child.kill('SIGKILL')
      const force = setTimeout(() => child.kill('SIGKILL'), SAVE_TIMEOUT_MS)
      const reply = await Promise.race([askRedis(place.redisSocket, ['SHUTDOWN'], SAVE_TIMEOUT_MS), exited])
      // It refuses to end if it cannot save the snapshot, as on a full disk. The append only file has everything.
      const refused = reply !== undefined && 'error' in reply
      if (refused) await askRedis(place.redisSocket, ['SHUTDOWN', 'NOSAVE', 'FORCE'], SAVE_TIMEOUT_MS)
      else if (reply === undefined) child.kill('SIGTERM')
      await exited
      clearTimeout(force)
    },
    kill() {
      child.kill('SIGKILL')
    },
  }
}

function redisArguments(place: Place, appendfsync: Appendfsync): string[] {
  const settings: readonly (readonly string[])[] = [
    ['port', '0'],
    ['unixsocket', place.redisSocket],
    ['unixsocketperm', '600'],
    ['dir', place.dataDir],
    ['pidfile', place.pidFile],
    ['daemonize', 'no'],
    ['loglevel', 'notice'],
    ['appendonly', 'yes'],
    ['appendfsync', appendfsync],
    ['aof-load-truncated', 'yes'],
    ['save', '3600', '1', '300', '100', '60', '10000'],
    // The append only file is the record; a failed snapshot must not stop the work.
    ['stop-writes-on-bgsave-error', 'no'],
    // Evicted keys would be lost tasks.
    ['maxmemory-policy', 'noeviction'],
  ]
  return settings.flatMap(([name = '', ...values]) => [`--${name}`, ...values])
}

async function loadedBytes(socketPath: string): Promise<number> {
  const info = await askInfo(socketPath, 'persistence', PROBE_TIMEOUT_MS)
  return Number(info.get('loading_loaded_bytes') ?? 0)
}
