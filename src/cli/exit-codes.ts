import { RedisUnreachableError, UsageError } from '../errors.ts'

/** What the exit code of every command means. A signal that ends a command makes it 130 or 143. */
export const exitCodes = { done: 0, failed: 1, usage: 2, redisUnreachable: 3 } as const

/** The exit code for what a command threw. */
export function exitCodeOfError(error: unknown): number {
  if (error instanceof UsageError) return exitCodes.usage
  return error instanceof RedisUnreachableError ? exitCodes.redisUnreachable : exitCodes.failed
}
