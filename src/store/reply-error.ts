import { ReplyError } from 'ioredis'

/**
 * The code that begins an error reply of Redis (`OOM`, `NOSCRIPT`, `LOADING`, …), which is part of its protocol, or
 * undefined when the error is none. The one place that reads a message.
 */
export function replyCode(error: unknown): string | undefined {
  if (!(error instanceof ReplyError)) return undefined
  // An error inside a script keeps its code: "OOM command not allowed … script: …".
  return /^-?([A-Z]{2,20})\b/.exec((error as Error).message)?.[1]
}

/** Redis lives but refuses to write now: over its memory limit, unable to save, a replica, or too few replicas. */
export function refusesWrites(error: unknown): boolean {
  const code = replyCode(error)
  return code === 'OOM' || code === 'MISCONF' || code === 'READONLY' || code === 'NOREPLICAS'
}

/** Redis can't answer now but will: loading, busy with a script, electing a master, moving the slot, changing its role. */
export function isTransient(error: unknown): boolean {
  const code = replyCode(error)
  return (
    code === 'LOADING' ||
    code === 'BUSY' ||
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
