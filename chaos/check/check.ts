import type { Event } from '../events.ts'
import { checkClaims, checkDoubleCommits, checkEffects, checkLateCommits, checkRefused } from './commits.ts'
import { checkDelivery } from './delivery.ts'
import { checkBurns, checkCharges, recoveries, resumptions, spread } from './recovery.ts'
import type { Spread } from './recovery.ts'
import type { LateCommits } from './commits.ts'
import { checkOrigins, checkSubmits } from './submits.ts'
import { pickFaults, pickFences, pickSlice } from './slices.ts'
import type { ReadEvents } from './slices.ts'
import { tellStory } from './story.ts'
import type { Story } from './story.ts'
import type { Violation } from './violation.ts'

export interface Verdict {
  readonly violations: readonly Violation[]
  readonly counts: {
    readonly jobs: number
    readonly tasks: number
    readonly results: number
    readonly failures: number
    /** Results of tasks that computed for leases on end. */
    readonly burns: number
    readonly submits: Tally
    readonly commits: Tally
    /** Jobs that ended with a typed error that says what was lost with their driver. */
    readonly reported: Tally
  }
  readonly lateCommits: Pick<LateCommits, 'freezes' | 'attempted' | 'accepted' | 'idle'>
  /** How long the chunks of killed workers waited: all of them, and those without another fault between. */
  readonly recovery: { readonly all: Spread; readonly undisturbed: Spread }
  /** How long after each restart of Redis, once it had loaded, threads claimed again. */
  readonly resumption: Spread
}

/**
 * Judges a run that has been healed and drained, in `slices` parts, each of which must fit into memory. Pure: the same events
 * give the same verdict, in whatever number of slices. `leaseMs` is the workers' lease.
 */
export function check(read: ReadEvents, { leaseMs = 0, slices = 1 } = {}): Verdict {
  const { freezes } = tellStory(read(pickFaults))
  const fences = tellStory(read(pickFences(new Set(freezes.map(({ pid }) => pid)))))
  const late = checkLateCommits(fences)
  const parts = Array.from({ length: slices }, (_, slice) => checkSlice(read(pickSlice(slice, slices)), leaseMs))
  const recovered = parts.flatMap(part => part.recovered).sort((a, b) => a.ms - b.ms)
  return {
    violations: [...parts.flatMap(part => part.violations), ...checkClaims(fences), ...late.violations],
    counts: parts.map(part => part.counts).reduce(addCounts),
    lateCommits: { freezes: late.freezes, attempted: late.attempted, accepted: late.accepted, idle: late.idle },
    recovery: {
      all: spread(recovered.map(({ ms }) => ms)),
      undisturbed: spread(recovered.filter(({ disturbed }) => !disturbed).map(({ ms }) => ms)),
    },
    resumption: spread(resumptions(fences)),
  }
}

/** By the rules that are about one job. */
function checkSlice(events: readonly Event[], leaseMs: number) {
  const story = tellStory(events)
  const violations = [
    ...checkDelivery(story),
    ...checkSubmits(story),
    ...checkOrigins(story),
    ...checkDoubleCommits(story),
    ...checkEffects(story),
    ...checkRefused(story),
    ...checkCharges(story),
    ...checkBurns(story),
  ]
  return { violations, counts: countsOf(story, events), recovered: recoveries(story, leaseMs) }
}

function countsOf(story: Story, events: readonly Event[]): Verdict['counts'] {
  const results = events.filter(event => event.type === 'result')
  const reported = events.flatMap(event =>
    event.type === 'ended' && event.ending.how === 'error' ? [event.ending.code] : [],
  )
  return {
    jobs: story.jobs.size,
    tasks: [...story.jobs.values()].reduce((sum, { starts }) => sum + starts.size, 0),
    results: results.length,
    failures: events.filter(({ type }) => type === 'failed').length,
    burns: results.filter(({ job }) => story.jobs.get(job)?.spec.workload === 'burn').length,
    submits: tally(story.submits.map(({ state }) => state)),
    commits: tally(story.commits.map(({ state }) => state)),
    reported: tally(reported),
  }
}

function addCounts(a: Verdict['counts'], b: Verdict['counts']): Verdict['counts'] {
  return {
    jobs: a.jobs + b.jobs,
    tasks: a.tasks + b.tasks,
    results: a.results + b.results,
    failures: a.failures + b.failures,
    burns: a.burns + b.burns,
    submits: addTallies(a.submits, b.submits),
    commits: addTallies(a.commits, b.commits),
    reported: addTallies(a.reported, b.reported),
  }
}

type Tally = Readonly<Record<string, number>>

function addTallies(a: Tally, b: Tally): Tally {
  const words = new Set([...Object.keys(a), ...Object.keys(b)])
  return Object.fromEntries([...words].map(word => [word, (a[word] ?? 0) + (b[word] ?? 0)]))
}

export function tally(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1
  return counts
}
