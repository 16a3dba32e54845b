import type { Of, Story } from './story.ts'
import { pidOf } from './story.ts'
import type { Violation } from './violation.ts'

/** How long the chunks of killed workers waited until they ran again, in ms, one number for each chunk. */
export function recoveryTimes({ kills, claims, commits, jobs }: Story): number[] {
  const times: number[] = []
  for (const kill of kills.filter(({ what }) => what === 'worker')) {
    for (const claimed of claims.filter(event => pidOf(event.by) === kill.pid)) {
      const later = commits.filter(({ by, claim, invokedAt }) => {
        return by === claimed.by && claim === claimed.claim && invokedAt >= claimed.at
      })
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
        if (again.length > 0) times.push(Math.min(...again) - kill.at)
      }
    }
  }
  return times.sort((a, b) => a - b)
}

export function quantile(sorted: readonly number[], share: number): number | undefined {
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
  return [...jobs.values()].flatMap(({ job, spec, starts }): Violation[] => {
    const runs = starts.get(0) ?? []
    const [first] = runs
    if (spec.workload !== 'burn' || first === undefined || runs.length < 2) return []
    const last: Of<'started'> = runs.at(-1) ?? first
    const isExcused =
      kills.some(({ at }) => at >= first.at && at <= last.at) ||
      freezes.some(({ frozenAt, thawedAt }) => thawedAt >= first.at && frozenAt <= last.at) ||
      losses.some(({ endsAt, beginsAt }) => beginsAt >= first.at && endsAt <= last.at)
    return isExcused ? [] : [{ rule: 'ran twice', what: `task ${job}/0 ran ${runs.length} times`, events: runs }]
  })
}
