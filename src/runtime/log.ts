/** Where a service says what a person may want to know. Passed in, so that a library never writes by itself. */
export interface Log {
  info(line: string): void
  warn(line: string): void
}

/** Says nothing. */
export const silentLog: Log = { info: () => undefined, warn: () => undefined }

/**
 * A log that gives the same warning once in `everyMs`, however often it is given: what is tried again ten times a second
 * while Redis refuses would bury everything else. What tasks log is never left out.
 */
export function sparingLog(log: Log, everyMs = 10_000, clock: () => number = () => performance.now()): Log {
  const givenAt = new Map<string, number>()
  return {
    info: line => {
      log.info(line)
    },
    warn: line => {
      const nowMs = clock()
      for (const [old, atMs] of givenAt) if (nowMs - atMs >= everyMs || givenAt.size > mostKept) givenAt.delete(old)
      if (givenAt.has(line)) return
      givenAt.set(line, nowMs)
      log.warn(line)
    },
  }
}

const mostKept = 100
