import type { Event } from '../events.ts'
import { checkClaims, checkDoubleCommits, checkEffects, checkLateCommits, checkRefused } from './commits.ts'
import { checkDelivery } from './delivery.ts'
import { checkBurns, checkCharges, recoveries, spread } from './recovery.ts'
import type { Spread } from './recovery.ts'
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
  /** How long the chunks of killed workers waited: all of them, and those without another fault between. */
  readonly recovery: { readonly all: Spread; readonly undisturbed: Spread }
}

/** Reads the histories of a run that has been healed and drained. Pure: the same events give the same verdict. `leaseMs` is the workers' lease. */
export function check(events: readonly Event[], leaseMs = 0): Verdict {
  const story = tellStory(events)
  const late = checkLateCommits(story)
  const violations = [
    ...checkDelivery(story),
    ...checkSubmits(story),
    ...checkOrigins(story),
    ...checkDoubleCommits(story),
    ...checkClaims(story),
    ...checkEffects(story),
    ...checkRefused(story),
    ...late.violations,
    ...checkCharges(story),
    ...checkBurns(story),
  ]
  const recovered = recoveries(story, leaseMs)
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
      all: spread(recovered.map(({ ms }) => ms)),
      undisturbed: spread(recovered.filter(({ disturbed }) => !disturbed).map(({ ms }) => ms)),
    },
  }
}

export function tally(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1
  return counts
}
