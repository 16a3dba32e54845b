import { copyFileSync, openSync, readSync, closeSync, statSync, truncateSync } from 'node:fs'

/** The log of a supervisor and its Redis grows to this size; then it becomes `<log>.1`. */
const LOG_LIMIT_BYTES = 4 * 1024 * 1024
const TAIL_BYTES = 8 * 1024

/**
 * Keeps the log bounded. It is copied and emptied, not renamed: Redis and the supervisor write it through a descriptor
 * that they inherited, opened for appending. Lines written between the two steps are lost; and all of them where the
 * copy can't be made, as on a full disk, which is the more in need of room.
 */
export function boundLog(file: string): void {
  if (logSize(file) <= LOG_LIMIT_BYTES) return
  try {
    copyFileSync(file, `${file}.1`)
  } catch {
    // Its last lines are not worth the supervisor, which calls this from a timer.
  }
  truncateSync(file, 0)
}

/** The size of the log now; 0 if there is none. A mark for {@link lastLines}. */
export function logSize(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0
}

/** At most `count` last lines of the log, of what was written after `fromBytes`. */
export function lastLines(file: string, count: number, fromBytes = 0): string[] {
  const size = logSize(file)
  const start = Math.max(Math.min(fromBytes, size), size - TAIL_BYTES)
  if (start >= size) return []
  const bytes = Buffer.alloc(size - start)
  const descriptor = openSync(file, 'r')
  try {
    const read = readSync(descriptor, bytes, 0, bytes.length, start)
    const lines = bytes.toString('utf8', 0, read).split('\n')
    return lines.filter(line => line.trim() !== '').slice(-count)
  } finally {
    closeSync(descriptor)
  }
}

/** Lines of a log as they stand in an error's message. */
export function quoteLines(lines: readonly string[]): string {
  return lines.length === 0 ? '' : `\n${lines.map(line => `  | ${line}`).join('\n')}`
}
