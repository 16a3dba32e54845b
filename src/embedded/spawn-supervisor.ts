import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { lastLines, logSize, quoteLines } from './log-file.ts'
import type { Place } from './place.ts'

/** A supervisor that this process has started; it may find that another holds the project, and end. */
export interface SpawnedSupervisor {
  readonly running: boolean
  /** Why it crashed, with the last lines of its log; undefined if it runs, ended as it should, or was killed. */
  readonly crash: string | undefined
}

/**
 * What the supervisor and its Redis get of the environment: they outlive this process, and need no debugger and no
 * secrets; and no locale, since Redis from 7.2 on does not start under one that this machine lacks.
 */
const INHERITED = ['PATH', 'HOME', 'USER', 'TZ', 'TMPDIR', 'LD_LIBRARY_PATH']

/** Starts a supervisor as a process of its own, in a session of its own: neither our end nor a Ctrl-C reaches it. */
export function spawnSupervisor(place: Place, program: string): SpawnedSupervisor {
  const logMark = logSize(place.logFile)
  const log = openSync(place.logFile, 'a', 0o600)
  const child = spawn(process.execPath, [...supervisorProgram(), place.dataDir, place.runFolder, program], {
    cwd: place.dataDir,
    detached: true,
    stdio: ['ignore', log, log],
    env: Object.fromEntries(INHERITED.flatMap(name => (name in process.env ? [[name, process.env[name]]] : []))),
  })
  closeSync(log)
  child.unref()
  let failure: string | undefined
  child.once('error', error => {
    failure = error.message
  })
  return {
    get running() {
      return failure === undefined && child.exitCode === null && child.signalCode === null
    },
    get crash() {
      if (failure === undefined && (child.exitCode === null || child.exitCode === 0)) return undefined
      const how = failure ?? `exit code ${child.exitCode ?? 0}`
      return (
        `The supervisor of the embedded Redis in ${place.dataDir} crashed (${how}): make sure that the folder can be written ` +
        `and its disk has room; its log is ${place.logFile}.${quoteLines(lastLines(place.logFile, 8, logMark))}`
      )
    },
  }
}

/** Node cannot run TypeScript before version 22; from source, as in our own tests, the supervisor needs a loader. */
function supervisorProgram(): string[] {
  if (!import.meta.url.endsWith('.ts')) return [fileURLToPath(new URL('./supervisor.js', import.meta.url))]
  const loader = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
  return ['--import', loader, fileURLToPath(new URL('./supervisor.ts', import.meta.url))]
}
