import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { EmbeddedRedisError } from '../errors.ts'
import { listAnnouncements } from './announcement.ts'
import { connectSocket, encodeLine, parseReport, readLines, type Claim } from './control.ts'
import { Patience } from './patience.ts'
import type { Place } from './place.ts'
import { findRedisServer } from './redis-program.ts'
import { spawnSupervisor, type SpawnedSupervisor } from './spawn-supervisor.ts'

const POLL_MS = 25

/** A claim that a supervisor has counted. While the connection is open, Redis runs. */
export interface SupervisorLink {
  readonly socketPath: string
  /** Resolves when the connection is closed: by `close`, or because the supervisor died. */
  readonly closed: Promise<void>
  close(): void
}

/** What a claim asks for, and how long it waits for it. */
export interface ClaimOptions extends Claim {
  readonly startTimeoutMs: number
}

/**
 * Finds the supervisor of a place, or starts one, and waits until its Redis is ready. Any number of processes may do this at
 * the same instant: supervisors agree among themselves which one stays. Does not keep this process alive once it is done.
 * Throws {@link EmbeddedRedisError}, or what {@link findRedisServer} throws.
 */
export async function claimRedis(place: Place, options: ClaimOptions): Promise<SupervisorLink> {
  const patience = new Patience(place, options.startTimeoutMs)
  let spawned: SpawnedSupervisor | undefined
  for (;;) {
    const socket = await connectToSupervisor(place)
    if (socket !== undefined) {
      const socketPath = await claimOn(socket, options, patience)
      if (socketPath !== undefined) return linkOver(socket, socketPath)
    } else if (spawned?.running !== true) {
      if (spawned?.crash !== undefined) throw new EmbeddedRedisError(spawned.crash)
      const { program } = await findRedisServer()
      spawned = spawnSupervisor(place, program)
    }
    const overdue = patience.overdue()
    if (overdue !== undefined) throw overdue
    await delay(POLL_MS)
  }
}

async function connectToSupervisor(place: Place): Promise<Socket | undefined> {
  for (const announcement of await listAnnouncements(place)) {
    if (announcement.hash !== place.hash) continue
    try {
      return await connectSocket(announcement.controlPath)
    } catch {
      // Whether it is dead or only out of reach is for a supervisor to find out.
    }
  }
  return undefined
}

/** Resolves to the path of Redis's socket, or to undefined if the supervisor ended or gave way to another. */
function claimOn(socket: Socket, options: ClaimOptions, patience: Patience): Promise<string | undefined> {
  let counted = false
  let stopping = false
  let mostProgress = 0
  return new Promise((resolve, reject) => {
    const fail = (error: EmbeddedRedisError) => {
      reject(error)
      socket.destroy()
    }
    const ticks = setInterval(() => {
      // A server that saves much data takes long to stop, and says nothing meanwhile.
      if (stopping) patience.renew()
      const overdue = patience.overdue()
      if (overdue !== undefined) fail(overdue)
    }, POLL_MS)
    socket.once('close', () => {
      clearInterval(ticks)
      resolve(undefined)
    })
    readLines(socket, line => {
      const report = parseReport(line)
      if (report?.state === 'failed') fail(new EmbeddedRedisError(report.reason))
      if (report?.state === 'counted') counted = true
      if (report?.state === 'ready' && counted) {
        clearInterval(ticks)
        resolve(report.socketPath)
      }
      if (report?.state === 'starting' && report.progress > mostProgress) {
        mostProgress = report.progress
        patience.renew()
      }
      stopping = report?.state === 'stopping'
    })
    socket.write(encodeLine({ lingerMs: options.lingerMs, appendfsync: options.appendfsync }))
  })
}

function linkOver(socket: Socket, socketPath: string): SupervisorLink {
  const closed = new Promise<void>(resolve => {
    if (socket.destroyed) resolve()
    socket.once('close', () => {
      resolve()
    })
  })
  socket.unref()
  return {
    socketPath,
    closed,
    close() {
      socket.ref()
      socket.end()
    },
  }
}
