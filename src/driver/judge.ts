import type { PartCounters } from '../protocol/records.ts'
import { cancelledElsewhere, collectorReplaced, idIsTaken } from './job-errors.ts'

/** What a driver knows of its part, to hold against what Redis has. */
export interface Belief {
  readonly job: string
  readonly incarnation: string
  readonly collector: string
  /** How many drivers had attached when this one was the last. */
  readonly attaches: number
  /** Whether Redis has had this incarnation of the part. */
  readonly created: boolean
  /** Whether it had one before, which it may come back with. */
  readonly renewed: boolean
  /** How many tasks Redis has acknowledged, and whether that they are all. */
  readonly acknowledged: number
  readonly completed: boolean
  /** Whether results that must be in Redis are not, so that the part can't go on as it is. */
  readonly mustRestart: boolean
}

/**
 * What a part's stand calls for, when nothing is under way. An Error ends the job. `create`: it is not there yet;
 * `anew`: it was, and a new incarnation begins; `attach`: it is parked, or back with its former driver; `restart`: drop it and begin anew; `resume`: go on
 * from where Redis is, which may be less far than it was.
 */
export type Verdict = Error | 'create' | 'anew' | 'attach' | 'restart' | 'resume'

export function judge(stand: PartCounters | undefined, belief: Belief): Verdict {
  const { job, created, mustRestart } = belief
  if (stand === undefined) return created ? 'anew' : 'create'
  const hadOne = created || belief.renewed
  const isOurs = stand.incarnation === belief.incarnation
  const ended = stand.state === 'cancelled'
  // What a record says that has ended does not stand in the way of a job that is not there yet.
  if (ended && !isOurs && !hadOne) return 'create'
  if (stand.collector !== belief.collector) {
    // Redis went back to before this driver attached: nobody has come since.
    if (hadOne && !ended && stand.attaches < belief.attaches) return 'attach'
    return hadOne || isOurs ? collectorReplaced(job) : idIsTaken(job)
  }
  // A former incarnation of this driver's own, which Redis went back to, is no better than one that lost results.
  const mustEnd = mustRestart || (hadOne && !isOurs)
  if (!isOurs && !mustEnd) return idIsTaken(job)
  if (ended) return mustEnd ? 'anew' : cancelledElsewhere(job)
  if (stand.state === 'parked') return 'attach'
  return mustEnd ? 'restart' : 'resume'
}

/** Whether Redis has at least what it acknowledged, and the part is the driver's and runs. */
export function isSound(stand: PartCounters | undefined, belief: Belief): boolean {
  return (
    stand?.incarnation === belief.incarnation &&
    stand.collector === belief.collector &&
    stand.state === 'open' &&
    stand.submitted >= belief.acknowledged &&
    (stand.complete || !belief.completed)
  )
}
