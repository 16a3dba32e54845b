import { pidOf } from '../events.ts'
import type { Of, Story } from './story.ts'
import type { Violation } from './violation.ts'

/** How long a chunk of a killed worker waited until it ran again. */
export interface Recovery {
  readonly ms: number
  /** Another fault fell between, or so shortly before that the reaper's grace had begun anew. */
  readonly disturbed: boolean
}

/** Of every chunk that a killed worker held, the fastest first. */
export function recoveries(story: Story, leaseMs: number): Recovery[] {
  const { kills, claims, commits, jobs } = story
  const found: Recovery[] = []
  const claimsOf = grouped(claims, ({ by }) => pidOf(by))
  const commitsOf = grouped(commits, ({ by, claim }) => `${by} ${claim}`)
  for (const kill of kills.filter(({ what }) => what === 'worker')) {
    for (const claimed of claimsOf.get(kill.pid) ?? []) {
      if (wasTaken(story, kill.pid, claimed.at, kill.at)) continue
      const own = commitsOf.get(`${claimed.by} ${claimed.claim}`) ?? []
      const later = own.filter(({ invokedAt }) => invokedAt >= claimed.at)
      for (const { job, first, count } of claimed.chunks) {
        const handedIn = later.some(({ spans }) =>
          spans.some(span => span.job === job && span.first >= first && span.first < first + count),
        )
        if (handedIn) continue
        const again: number[] = []
        for (let index = first; index < first + count; index++) {
          for (const start of jobs.get(job)?.starts.get(index) ?? []) {
            if (start.at > kill.at && pidOf(start.by) !== kill.pid) again.push(start.at)
          }
        }
        if (again.length === 0) continue
        const at = Math.min(...again)
        found.push({ ms: at - kill.at, disturbed: hasFault(story, kill.at - leaseMs, at) })
      }
    }
  }
  return found.sort((a, b) => a.ms - b.ms)
}

function grouped<T>(all: readonly T[], keyOf: (one: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const one of all) {
    const key = keyOf(one)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [one])
    else group.push(one)
  }
  return groups
}

/** Whether what the worker had claimed may have been somebody else's before it was killed: Redis lost it, or gave it away. */
function wasTaken({ losses, freezes }: Story, pid: string, claimedAt: number, killedAt: number): boolean {
  return (
    losses.some(({ endsAt }) => endsAt >= claimedAt && endsAt <= killedAt) ||
    freezes.some(
      freeze =>
        freeze.pid === pid && freeze.declaredDead && freeze.frozenAt >= claimedAt && freeze.thawedAt <= killedAt,
    )
  )
}

/** Whether a fault was going on in that time other than that workers were killed. */
function hasFault({ faults }: Story, from: number, to: number): boolean {
  const begunAt = new Map<string, number>()
  for (const { fault, state, at } of faults) {
    if (fault === 'worker-kill') continue
    if (state === 'begins') {
      begunAt.set(fault, at)
      continue
    }
    const beganAt = begunAt.get(fault)
    begunAt.delete(fault)
    if (beganAt !== undefined && beganAt <= to && at >= from) return true
  }
  return [...begunAt.values()].some(at => at <= to)
}

const restarts = new Set(['redis-kill', 'redis-truncate', 'redis-loading'])

/** How long after each restart of Redis, from when it had loaded, a thread claimed again, in ascending order. */
export function resumptions({ faults, claims }: Story): number[] {
  const at = claims.map(claimed => claimed.at).sort((a, b) => a - b)
  const found: number[] = []
  let next = 0
  for (const { fault, state, at: loadedAt } of faults) {
    if (state !== 'ends' || !restarts.has(fault)) continue
    while (next < at.length && at[next]! < loadedAt) next++
    if (next < at.length) found.push(at[next]! - loadedAt)
  }
  return found.sort((a, b) => a - b)
}

/** Of times in ascending order. */
export function spread(times: readonly number[]): Spread {
  return {
    count: times.length,
    p50Ms: quantile(times, 0.5),
    p90Ms: quantile(times, 0.9),
    p99Ms: quantile(times, 0.99),
    mostMs: times.at(-1),
  }
}

export interface Spread {
  readonly count: number
  readonly p50Ms: number | undefined
  readonly p90Ms: number | undefined
  readonly p99Ms: number | undefined
  readonly mostMs: number | undefined
}

function quantile(sorted: readonly number[], share: number): number | undefined {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
}

/** A task is charged only for what it did itself: none here is ever retried, so its attempt is the first. */
export function checkCharges({ jobs }: Story): Violation[] {
  return [...jobs.values()].flatMap(({ job, starts }) =>
    [...starts.values()].flat().flatMap((start): Violation[] => {
      if (start.attempt === 1) return []
      return [
        {
          rule: 'charged wrongly',
          what: `task ${job}/${start.index} was on attempt ${start.attempt}`,
          events: [start],
        },
      ]
    }),
  )
}

/** A task that computes for leases on end costs its worker nothing: it runs once unless somebody was killed, or Redis lost it. */
export function checkBurns({ jobs, kills, freezes, losses }: Story): Violation[] {
  const isExcused = (first: Of<'started'>, last: Of<'started'>) =>
    kills.some(({ at }) => at >= first.at && at <= last.at) ||
    freezes.some(({ frozenAt, thawedAt }) => thawedAt >= first.at && frozenAt <= last.at) ||
    losses.some(({ endsAt, beginsAt }) => beginsAt >= first.at && endsAt <= last.at)
  return [...jobs.values()]
    .filter(({ spec }) => spec.workload === 'burn')
    .flatMap(({ job, starts }) =>
      [...starts].flatMap(([index, runs]): Violation[] => {
        const [first, ...more] = runs
        const last = more.at(-1)
        if (first === undefined || last === undefined || isExcused(first, last)) return []
        return [{ rule: 'ran twice', what: `task ${job}/${index} ran ${runs.length} times`, events: runs }]
      }),
    )
}
