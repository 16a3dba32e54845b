import type { Commit, Loss, Story } from './story.ts'
import { pidOf } from './story.ts'
import type { Violation } from './violation.ts'

/**
 * At most one accepted commit for each task in each history of Redis. A call that was under way while Redis went back
 * belongs to neither for certain, one without an answer may have run or not: neither counts against anybody.
 */
export function checkDoubleCommits({ commits, losses, jobs }: Story): Violation[] {
  const found: Violation[] = []
  const accepted = new Map<string, Commit>()
  for (const commit of commits) {
    const history = historyOf(commit, losses)
    if (commit.state !== 'committed' || history === undefined) continue
    for (const { job, first, count } of commit.spans) {
      for (let index = first; index < first + count; index++) {
        const key = `${history} ${job} ${index}`
        const earlier = accepted.get(key)
        accepted.set(key, commit)
        if (earlier === undefined) continue
        const what = `task ${job}/${index} was committed by ${earlier.by} at ${earlier.invokedAt} and by ${commit.by} at ${commit.invokedAt}`
        const starts = jobs.get(job)?.starts.get(index) ?? []
        found.push({ rule: 'double commit', what, events: starts })
      }
    }
  }
  return found
}

/** Which of Redis's histories the call certainly ran in. */
function historyOf({ invokedAt, answeredAt }: Commit, losses: readonly Loss[]): number | undefined {
  if (answeredAt === undefined) return undefined
  const before = losses.filter(({ beginsAt }) => beginsAt < invokedAt).length
  const after = losses.filter(({ endsAt }) => endsAt > answeredAt).length
  return before + after === losses.length ? before : undefined
}

/** What the workers that were frozen tried to commit when they were back. */
export interface LateCommits {
  /** Freezes after which Redis had declared the worker dead, and had not lost anything meanwhile. */
  readonly freezes: number
  readonly attempted: number
  readonly accepted: number
  readonly violations: readonly Violation[]
}

export function checkLateCommits({ commits, claims, freezes, losses }: Story): LateCommits {
  let attempted = 0
  const violations: Violation[] = []
  const judged = freezes.filter(
    ({ what, declaredDead, frozenAt, thawedAt }) =>
      what === 'worker' &&
      declaredDead &&
      !losses.some(({ endsAt, beginsAt }) => beginsAt >= frozenAt && endsAt <= thawedAt + settlingMs),
  )
  for (const { pid, frozenAt, thawedAt } of judged) {
    const late = commits.filter(({ by, claim, spans, invokedAt, answeredAt }) => {
      if (pidOf(by) !== pid || answeredAt === undefined || answeredAt < thawedAt) return false
      const given = claims.findLast(event => event.by === by && event.claim === claim && event.at <= invokedAt)
      return given !== undefined && given.at <= frozenAt + slackMs && spans.length > 0
    })
    attempted += late.length
    for (const { by, invokedAt, spans } of late.filter(
      ({ state, invokedAt: at }) => state === 'committed' && at >= thawedAt,
    )) {
      const tasks = spans.map(({ job, first, count }) => `${job}/${first}+${count}`).join(', ')
      violations.push({
        rule: 'late commit accepted',
        what: `${by} committed ${tasks} at ${invokedAt}, after it had been declared dead`,
        events: [],
      })
    }
  }
  return { freezes: judged.length, attempted, accepted: violations.length, violations }
}

/** A commit of a worker that was frozen may come so much later. */
const settlingMs = 3000
/** The freeze is written down before the signal has stopped every thread. */
const slackMs = 50
