/**
 * Who supervises a project: never two at once, with nothing but files and sockets, since Node has no file locks.
 *
 * A supervisor first listens on a socket of its own, then announces that socket by a file in the data folder, then looks at the
 * announcements of others. It holds the project only if a look *after* its own announcement shows nobody else alive. Of
 * two that overlap, the one that looked last had announced before the other looked or sees the other: they can't both hold.
 * (Where both only try, the smaller id goes on and the other ends.)
 *
 * The kernel frees the hold of a dead one: its socket refuses connections from then on, whoever killed it.
 * The announcement is in the data folder, not beside the sockets, so that processes with another TMPDIR see it too.
 * Where the socket itself can't be seen (another container or machine shares the folder; a cleaned /tmp), the beat tells:
 * a live supervisor touches its announcement every {@link BEAT_MS}.
 */
import { randomBytes } from 'node:crypto'
import { readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { connectSocket, parseReport, readLines, type SupervisorReport } from './control.ts'
import { hasErrorCode } from './error-code.ts'
import { controlSocketPath, type Place } from './place.ts'

/** How often a supervisor touches its announcement. */
export const BEAT_MS = 2_000

/** A beat this old is no longer watched for a next one. */
const OLD_BEAT_MS = 60 * 60_000
/** A living supervisor has touched or removed its files by then. */
const LEFTOVER_MS = 60_000
const REPORT_TIMEOUT_MS = 1_000

/** A supervisor that says it is there, as its file tells. */
export interface Announcement {
  readonly id: string
  readonly file: string
  readonly pid: number
  readonly host: string
  readonly hash: string
  readonly controlPath: string
}

/** What a look at another supervisor showed. `elsewhere`: it lives, but where we cannot reach it. */
export type Sighting = 'dead' | 'candidate' | 'holder' | 'elsewhere'

/** An announcement that is not written yet: its socket must listen first. */
export function draftAnnouncement(place: Place): Announcement {
  const id = randomBytes(4).toString('hex')
  return {
    id,
    file: join(place.dataDir, `supervisor-${id}.json`),
    pid: process.pid,
    host: hostname(),
    hash: place.hash,
    controlPath: controlSocketPath(place.runFolder, place.hash, id),
  }
}

/** Makes the announcement seen, whole at once. */
export async function announce({ file, pid, host, hash, controlPath }: Announcement): Promise<void> {
  await writeFile(`${file}.new`, JSON.stringify({ pid, host, hash, controlPath }))
  await rename(`${file}.new`, file)
}

/** Takes an announcement away: one's own, or a dead one's that was found in this place. */
export async function withdraw(announcement: Announcement, place: Place): Promise<void> {
  await rm(announcement.file, { force: true })
  // In a copied folder, the announcement names the socket of the original, which may be alive.
  if (announcement.hash === place.hash) await rm(announcement.controlPath, { force: true })
}

/** Removes what supervisors left that were killed before they were announced. Only for who holds the place. */
export async function sweep(place: Place): Promise<void> {
  const drafts = (await readdir(place.dataDir)).filter(name => /^supervisor-.*\.new$/.test(name))
  const sockets = (await readdir(place.runFolder)).filter(name => name.startsWith(`${place.hash}-`))
  const files = [...drafts.map(name => join(place.dataDir, name)), ...sockets.map(name => join(place.runFolder, name))]
  for (const file of files) {
    const touchedAt = await lastBeat(file)
    if (touchedAt !== undefined && Date.now() - touchedAt > LEFTOVER_MS) await rm(file, { force: true })
  }
}

/** Shows that the supervisor lives. False if a file is gone: the hold is lost. */
export async function beat(announcement: Announcement): Promise<boolean> {
  // The socket first: one whose socket is gone must not look alive by its announcement.
  return (await touch(announcement.controlPath)) && (await touch(announcement.file))
}

/** Keeps cleaners of temporary folders off a file. False if it is gone. */
export async function touch(file: string): Promise<boolean> {
  const now = new Date()
  try {
    await utimes(file, now, now)
    return true
  } catch (error) {
    // Any other error says nothing about the file.
    return !hasErrorCode(error, 'ENOENT', 'ENOTDIR')
  }
}

/** Every announcement in the data folder, of the living and the dead. */
export async function listAnnouncements(place: Place): Promise<Announcement[]> {
  const announcements: Announcement[] = []
  for (const name of await readdir(place.dataDir)) {
    const id = /^supervisor-([0-9a-f]{8})\.json$/.exec(name)?.[1]
    if (id === undefined) continue
    const announcement = await readAnnouncement(join(place.dataDir, name), id)
    if (announcement !== undefined) announcements.push(announcement)
  }
  return announcements
}

/** Whether the supervisor of an announcement lives, and what it is. */
export async function lookAt(announcement: Announcement, place: Place): Promise<Sighting> {
  // Another hash: the folder was copied with its files, or it is known elsewhere by another path. Only the beat can tell.
  if (announcement.hash !== place.hash) return watchBeat(announcement.file)
  let report: SupervisorReport | undefined
  try {
    report = await firstReport(announcement.controlPath)
  } catch (error) {
    if (hasErrorCode(error, 'ECONNREFUSED')) return 'dead'
    return hasErrorCode(error, 'ENOENT', 'ENOTDIR') ? watchBeat(announcement.file) : 'holder'
  }
  // Whoever accepts connections but says nothing may be a frozen holder.
  return report?.state === 'candidate' ? 'candidate' : 'holder'
}

async function readAnnouncement(file: string, id: string): Promise<Announcement | undefined> {
  try {
    const fields: unknown = JSON.parse(await readFile(file, 'utf8'))
    if (typeof fields !== 'object' || fields === null) return undefined
    const { pid, host, hash, controlPath } = fields as Partial<Record<keyof Announcement, unknown>>
    if (typeof pid !== 'number' || typeof host !== 'string') return undefined
    if (typeof hash !== 'string' || typeof controlPath !== 'string') return undefined
    return { id, file, pid, host, hash, controlPath }
  } catch (error) {
    if (hasErrorCode(error, 'ENOENT') || error instanceof SyntaxError) return undefined
    throw error
  }
}

async function firstReport(controlPath: string): Promise<SupervisorReport | undefined> {
  const socket = await connectSocket(controlPath)
  const report = new Promise<SupervisorReport | undefined>(resolve => {
    readLines(socket, line => {
      resolve(parseReport(line))
    })
    socket.once('close', () => {
      resolve(undefined)
    })
    socket.setTimeout(REPORT_TIMEOUT_MS, () => {
      resolve(undefined)
    })
  })
  return report.finally(() => socket.destroy())
}

async function watchBeat(file: string): Promise<'dead' | 'elsewhere'> {
  const first = await lastBeat(file)
  if (first === undefined || Date.now() - first > OLD_BEAT_MS) return 'dead'
  const until = performance.now() + 3 * BEAT_MS
  while (performance.now() < until) {
    await delay(100)
    const now = await lastBeat(file)
    if (now === undefined) return 'dead'
    if (now !== first) return 'elsewhere'
  }
  return 'dead'
}

async function lastBeat(file: string): Promise<number | undefined> {
  try {
    return (await stat(file)).mtimeMs
  } catch (error) {
    if (hasErrorCode(error, 'ENOENT')) return undefined
    throw error
  }
}
