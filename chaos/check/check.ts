import type { Event } from '../events.ts'
import { checkClaims, checkDoubleCommits, checkLateCommits, checkRefused } from './commits.ts'
import { checkDelivery } from './delivery.ts'
import { checkBurns, checkCharges, quantile, recoveryTimes } from './recovery.ts'
import type { LateCommits } from './commits.ts'
import { checkOrigins, checkSubmits } from './submits.ts'
import { tellStory } from './story.ts'
import type { Violation } from './violation.ts'

export interface Verdict {
  readonly violations: readonly Violation[]
  readonly counts: {
    readonly jobs: number
    readonly tasks: number
    readonly results: number
    readonly failures: number
    readonly submits: Readonly<Record<string, number>>
    readonly commits: Readonly<Record<string, number>>
    /** Jobs that ended with a typed error that says what was lost with their driver. */
    readonly reported: Readonly<Record<string, number>>
  }
  readonly lateCommits: Pick<LateCommits, 'freezes' | 'attempted' | 'accepted' | 'idle'>
  readonly recovery: {
    readonly chunks: number
    readonly p50Ms: number | undefined
    readonly p90Ms: number | undefined
    readonly p99Ms: number | undefined
    readonly mostMs: number | undefined
  }
}

/** Reads the histories of a run that has been healed and drained. Pure: the same events give the same verdict. */
export function check(events: readonly Event[]): Verdict {
  const story = tellStory(events)
  const late = checkLateCommits(story)
  const violations = [
    ...checkDelivery(story),
    ...checkSubmits(story),
    ...checkOrigins(story),
    ...checkDoubleCommits(story),
    ...checkClaims(story),
    ...checkRefused(story),
    ...late.violations,
    ...checkCharges(story),
    ...checkBurns(story),
  ]
  const times = recoveryTimes(story)
  const reported = events.flatMap(event =>
    event.type === 'ended' && event.ending.how === 'error' ? [event.ending.code] : [],
  )
  return {
    violations,
    counts: {
      jobs: story.jobs.size,
      tasks: [...story.jobs.values()].reduce((sum, { starts }) => sum + starts.size, 0),
      results: events.filter(({ type }) => type === 'result').length,
      failures: events.filter(({ type }) => type === 'failed').length,
      submits: tally(story.submits.map(({ state }) => state)),
      commits: tally(story.commits.map(({ state }) => state)),
      reported: tally(reported),
    },
    lateCommits: { freezes: late.freezes, attempted: late.attempted, accepted: late.accepted, idle: late.idle },
    recovery: {
      chunks: times.length,
      p50Ms: quantile(times, 0.5),
      p90Ms: quantile(times, 0.9),
      p99Ms: quantile(times, 0.99),
      mostMs: times.at(-1),
    },
  }
}

export function tally(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1
  return counts
}
