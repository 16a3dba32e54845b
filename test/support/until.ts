import { setTimeout as sleep } from 'node:timers/promises'

export interface UntilOptions {
  /** What is waited for, to follow "until": the whole of what a reader of a failed run gets to see. */
  readonly what: string
  /** @default 60000 */
  readonly timeoutMs?: number
  /** Pause between two looks. @default 20 */
  readonly everyMs?: number
}

/** `until` gave up; `cause` is what the condition threw last, if it threw. */
export class UntilTimeoutError extends Error {
  override readonly name = 'UntilTimeoutError'
}

/**
 * Looks again and again until `condition` gives something truthy, and resolves with it. A condition that throws counts
 * as not yet true; one that never answers is not waited for beyond the deadline.
 *
 * @example await until(() => lines.length >= 3, { what: 'the worker has printed three lines' })
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  { what, timeoutMs = 60_000, everyMs = 20 }: UntilOptions,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMs
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>(resolve => {
    timer = setTimeout(() => resolve(undefined), timeoutMs)
  })

  let thrown: unknown
  try {
    while (performance.now() < deadline) {
      try {
        const value = await Promise.race([condition(), late])
        if (value) return value
        thrown = undefined
      } catch (error) {
        thrown = error
      }
      await Promise.race([sleep(everyMs), late])
    }
  } finally {
    clearTimeout(timer)
  }
  const last = thrown instanceof Error ? `; the last look threw: ${thrown.message}` : ''
  throw new UntilTimeoutError(`waited ${timeoutMs} ms in vain until ${what}${last}`, { cause: thrown })
}
