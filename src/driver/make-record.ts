import { setTimeout as sleep } from 'node:timers/promises'
import { jitteredBackoffMs } from '../runtime/backoff.ts'
import type { LaneStore } from '../store/lane-store.ts'
import { isDamage } from '../store/mend.ts'
import { isTransient, outcomeUnknown, refusalInWords, refusesWrites } from '../store/reply-error.ts'
import { redisRefused } from './job-errors.ts'
import { driverLeaseMs } from './part.ts'
import type { Part } from './part.ts'

/** Who waits for the record, and is told why it takes so long. */
export interface RecordWaiter {
  waitingFor: string | undefined
  readonly ended: boolean
}

/** Calls that stumble over damaged keys: what damages them does not stop. */
const mostDamages = 20

/**
 * Makes the record of a job whose id the user chose, before any of its inputs is pulled. When several drivers ask for one
 * id at the same time, the first one makes it; to the others this is no error, since it is there: all of them then attach.
 */
export async function makeRecord(store: LaneStore, part: Part, paceNs: number, waiter: RecordWaiter): Promise<void> {
  const create = { ...part.fields, pace: paceNs }
  const nothing = { from: 0, to: 0, skipped: 0, elements: [], complete: false }
  for (let attempt = 1; !waiter.ended; attempt++) {
    try {
      await store.parts.submit(part, { ...nothing, create, shared: part.shared, driverLeaseMs })
      break
    } catch (error) {
      if (refusesWrites(error)) waiter.waitingFor = refusalInWords(error)
      else if (!isTransient(error) && !outcomeUnknown(error) && !(isDamage(error) && attempt < mostDamages))
        throw redisRefused(error)
    }
    await sleep(jitteredBackoffMs(attempt, { firstMs: 50, mostMs: 2000 }))
  }
  waiter.waitingFor = undefined
}
