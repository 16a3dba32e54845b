import { setTimeout as sleep } from 'node:timers/promises'
import { jitteredBackoffMs } from '../runtime/backoff.ts'
import type { PartStore } from '../store/part-store.ts'
import { isDamage, mostDamages } from '../store/mend.ts'
import { isTransient, outcomeUnknown, refusalInWords, refusesWrites } from '../store/reply-error.ts'
import { collectorReplaced, redisRefused } from './job-errors.ts'
import { driverLeaseMs } from './part.ts'
import type { Part } from './part.ts'

/** Who waits for the record, and is told why it takes so long. */
export interface RecordWaiter {
  waitingFor: string | undefined
  readonly ended: boolean
}

/**
 * Makes the record of a job whose id the user chose, before any of its inputs is pulled: when several drivers ask for one id
 * at the same time, the first one makes it, and the others find it there. Whether this one did.
 * @throws {CollectorReplacedError} when another driver has attached since: this one was frozen, or its reply lost.
 */
export async function makeRecord(parts: PartStore, part: Part, paceNs: number, waiter: RecordWaiter): Promise<boolean> {
  const create = { ...part.fields, pace: paceNs }
  const nothing = { from: 0, to: 0, skipped: 0, taskless: 0, elements: [], complete: false }
  let damages = 0
  /** Undefined: not known, or not now. */
  const send = async () => {
    try {
      const { word } = await parts.submit(part, { ...nothing, create, shared: part.shared, driverLeaseMs })
      return word
    } catch (error) {
      if (refusesWrites(error)) waiter.waitingFor = refusalInWords(error)
      else if (!isTransient(error) && !outcomeUnknown(error) && !(isDamage(error) && damages++ < mostDamages))
        throw redisRefused(error)
      return undefined
    }
  }
  for (let attempt = 1; !waiter.ended; attempt++) {
    const word = await send()
    if (word !== undefined) {
      waiter.waitingFor = undefined
      if (word === 'replaced') throw collectorReplaced(part.job)
      return word === 'submitted'
    }
    await sleep(jitteredBackoffMs(attempt, { firstMs: 50, mostMs: 2000 }))
  }
  return false
}
