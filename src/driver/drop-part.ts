import type { LaneStore } from '../store/lane-store.ts'
import { driverLeaseMs } from './part.ts'
import type { Part } from './part.ts'

/** A part that is to go, and where it is. */
export interface Ended {
  readonly store: LaneStore
  /** Without its payloads. */
  readonly part: Pick<Part, 'job' | 'incarnation' | 'formers' | 'collector' | 'hash' | 'attaches'>
  /** Whether threads may still run some of it, and are to be told. */
  readonly running: boolean
}

interface Ending {
  readonly running: boolean
  /** @default the part's own */
  readonly incarnation?: string | undefined
}

/** As the part is now: a living job's may become another incarnation. */
export function endedPart(store: LaneStore, part: Part, ending: Ending): Ended {
  const { job, formers, collector, hash, attaches } = part
  const { running, incarnation = part.incarnation } = ending
  return { store, part: { job, incarnation, formers, collector, hash, attaches }, running }
}

/**
 * Takes a part out of Redis, and has what runs of it stopped. 'replaced': another driver has it, and neither was done.
 * The call that creates the part may be under way: then it comes first.
 */
export async function dropPart(ended: Ended): Promise<'dropped' | 'gone' | 'replaced'> {
  const { store, part, running } = ended
  const word = await dropOwn(ended)
  // What was running when an earlier try had no answer is gone by now, and runs on.
  if (running && word !== 'replaced')
    await store.publishControl({ type: 'cancel', job: part.job, incarnation: part.incarnation, index: undefined })
  return word
}

async function dropOwn(ended: Ended): Promise<'dropped' | 'gone' | 'replaced'> {
  const { store, part } = ended
  const { parts } = store
  const word = await parts.drop(part)
  if (word === 'dropped' || (word === 'gone' && part.formers.length === 0)) return word
  const stand = await parts.readCounters(part.job)
  if (stand === undefined || stand.state === 'cancelled') return word
  // Redis went back to before the last incarnation began.
  if (part.formers.includes(stand.incarnation))
    return dropPart({ ...ended, part: { ...part, incarnation: stand.incarnation, formers: [] } })
  if (stand.incarnation !== part.incarnation || stand.attaches >= part.attaches) return word
  // Redis went back to before this driver attached, and nobody has come since.
  await parts.attach(part.job, part.collector, driverLeaseMs, part.hash, stand.collector)
  return parts.drop(part)
}
