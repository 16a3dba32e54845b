import { ReplyError } from './ioredis.ts'

/**
 * The code that begins an error reply of Redis (`OOM`, `NOSCRIPT`, `LOADING`, …), which is part of its protocol, or
 * undefined when the error is none. The one place that reads a message.
 */
export function replyCode(error: unknown): string | undefined {
  if (!(error instanceof ReplyError)) return undefined
  // An error inside a script keeps its code: "OOM command not allowed … script: …".
  return /^-?([A-Z]{2,20})\b/.exec(error.message)?.[1]
}

/** Redis lives but refuses to write now: over its memory limit, unable to save, a replica, or too few replicas. */
export function refusesWrites(error: unknown): boolean {
  const code = replyCode(error)
  return code === 'OOM' || code === 'MISCONF' || code === 'READONLY' || code === 'NOREPLICAS'
}

/** Why Redis refuses to write, in words that can follow "waits for ". Whoever sees to it is not the one who reads this first. */
export function refusalInWords(error: unknown): string {
  const reasons: Readonly<Record<string, string>> = {
    OOM: 'it is over its memory limit (maxmemory)',
    MISCONF: 'its last snapshot failed (stop-writes-on-bgsave-error), or its append-only file can’t be written',
    READONLY: 'it is a read-only replica',
    NOREPLICAS: 'it has too few replicas (min-replicas-to-write)',
  }
  return `Redis to accept writes again: ${reasons[replyCode(error) ?? ''] ?? 'it refuses them'}`
}

/** The user or password is wrong or missing, or may not do what every connection begins with: waiting changes nothing. */
export function refusesUser(error: unknown): boolean {
  const code = replyCode(error)
  return code === 'WRONGPASS' || code === 'NOAUTH' || code === 'NOPERM'
}

/** Redis can't answer now but will: loading, busy with a script, electing a master, moving the slot, changing its role; or a command of a transaction was refused for such a reason. */
export function isTransient(error: unknown): boolean {
  const code = replyCode(error)
  return (
    code === 'LOADING' ||
    code === 'BUSY' ||
    code === 'EXECABORT' ||
    code === 'CLUSTERDOWN' ||
    code === 'TRYAGAIN' ||
    code === 'MOVED' ||
    code === 'ASK' ||
    code === 'UNBLOCKED' ||
    code === 'MASTERDOWN' ||
    code === 'UNKILLABLE'
  )
}

/**
 * The connection broke with the command under way, so that nobody knows whether it ran. Every error that is not a
 * reply is taken for this: to believe that a command failed when it ran is what loses or doubles work.
 */
export function outcomeUnknown(error: unknown): boolean {
  return !(error instanceof ReplyError)
}
