import { jitteredBackoffMs } from '../../runtime/backoff.ts'
import type { PlainOutcome } from '../../store/plain-store.ts'
import type { PlainPool } from './pool.ts'

export interface AttemptLimits {
  /** The worker's id, for the outcome of what failed. */
  readonly worker: string
  /** So many threads may die with one element. */
  readonly maxDeaths: number
  readonly isDraining: () => boolean
}

/**
 * Runs an element, or a message, until it is done or has failed as often as it may. Undefined when the worker stops before
 * there is an outcome: the element goes back.
 */
export async function runUntilDone(
  pool: PlainPool,
  { field, input }: { readonly field: Buffer; readonly input: unknown },
  { worker, maxDeaths, isDraining }: AttemptLimits,
): Promise<PlainOutcome | undefined> {
  const { retries, backoffMs, maxBackoffMs } = pool.task
  let deaths = 0
  for (let attempt = 1; ; attempt++) {
    if (isDraining() && attempt > 1) return undefined
    const result = await pool.run({ input, field: field.toString('utf8'), attempt })
    if (result.type === 'done') return { outcome: 'ok', value: result.value }
    if (isDraining() && result.type === 'died') return undefined
    if (result.type === 'died') deaths++
    const more = result.type === 'died' ? deaths < maxDeaths : attempt <= retries
    if (!more) {
      const { name, message, stack } = result
      return { outcome: 'error', value: JSON.stringify({ name, message, stack, attempt, worker }) }
    }
    if (result.type !== 'died') {
      await new Promise(resolve =>
        setTimeout(resolve, jitteredBackoffMs(attempt, { firstMs: backoffMs, mostMs: maxBackoffMs })),
      )
    }
  }
}
