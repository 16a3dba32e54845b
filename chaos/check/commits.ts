import { pidOf } from '../events.ts'
import type { Span } from '../events.ts'
import { historyOf } from './history-of.ts'
import type { Commit, JobStory, Of, Story, Submit } from './story.ts'
import type { Violation } from './violation.ts'

/**
 * At most one accepted commit for each task in each history of Redis. A call that was under way while Redis went back
 * belongs to neither for certain, one without an answer may have run or not: neither counts against anybody. A job may
 * begin anew, and only then commit its tasks again, when Redis has lost something in its life, or when a driver that asks
 * for its id only gets through when it has ended.
 */
export function checkDoubleCommits({ commits, losses, jobs, submits }: Story): Violation[] {
  const found: Violation[] = []
  const accepted = new Map<string, Commit>()
  for (const commit of commits) {
    const history = historyOf(commit, losses)
    if (commit.state !== 'committed' || history === undefined) continue
    for (const { job, first, count } of commit.spans) {
      for (let index = first; index < first + count; index++) {
        const key = `${history} ${job} ${commit.incarnation} ${index}`
        const earlier = accepted.get(key)
        accepted.set(key, commit)
        if (earlier === undefined) continue
        const what = `task ${job}/${index} was committed by ${earlier.by} at ${earlier.invokedAt} and by ${commit.by} at ${commit.invokedAt}`
        found.push({ rule: 'double commit', what, events: jobs.get(job)?.starts.get(index) ?? [] })
      }
    }
  }
  return [...found, ...checkIncarnations({ commits, losses, jobs, submits })]
}

type Beginnings = Pick<Story, 'commits' | 'losses' | 'jobs' | 'submits'>

function checkIncarnations({ commits, losses, jobs, submits }: Beginnings): Violation[] {
  const known = new Map<string, Set<string>>()
  return commits.flatMap(({ spans, incarnation, invokedAt }): Violation[] => {
    const job = jobs.get(spans[0]?.job ?? '')
    if (job === undefined) return []
    const incarnations = known.get(job.job) ?? new Set()
    known.set(job.job, incarnations)
    if (incarnations.has(incarnation)) return []
    incarnations.add(incarnation)
    const isExplained = losses.some(({ endsAt, beginsAt }) => beginsAt >= job.begun.at && endsAt <= invokedAt)
    const beginner = submits.find(submit => submit.job === job.job && submit.incarnation === incarnation)
    if (incarnations.size === 1 || isExplained || wasAskedForAgain(job, beginner)) return []
    return [
      { rule: 'double commit', what: `job ${job.job} began anew although Redis had lost nothing`, events: [job.begun] },
    ]
  })
}

/** A driver asked for the id, and was frozen before that got through. Meanwhile another one saw the job to its end. */
function wasAskedForAgain({ lives }: JobStory, beginner: Submit | undefined): boolean {
  if (beginner === undefined) return false
  const hasAsked = lives.some(({ by, attached }) => by === beginner.by && attached?.how === 'same id')
  return hasAsked && lives.some(({ ended }) => ended?.ending.how === 'complete' && ended.at <= beginner.invokedAt)
}

/** What the workers that were frozen tried to commit when they were back. */
export interface LateCommits {
  /** Freezes at whose end Redis had declared the worker dead, and lost nothing just then. */
  readonly freezes: number
  readonly attempted: number
  readonly accepted: number
  /** Freezes in which nothing else was done to Redis or its connections, and after which nothing was attempted. */
  readonly idle: number
  readonly violations: readonly Violation[]
}

export function checkLateCommits({ commits, claims, freezes, losses, faults }: Story): LateCommits {
  let attempted = 0
  let idle = 0
  const violations: Violation[] = []
  const judged = freezes.filter(
    ({ what, declaredDead, thawedAt }) =>
      what === 'worker' &&
      declaredDead &&
      !losses.some(({ endsAt, beginsAt }) => beginsAt >= thawedAt - slackMs && endsAt <= thawedAt + settlingMs),
  )
  for (const { pid, frozenAt, thawedAt } of judged) {
    const late = commits.filter(({ by, claim, spans, invokedAt, answeredAt, state }) => {
      if (pidOf(by) !== pid || answeredAt === undefined || answeredAt < thawedAt || spans.length === 0) return false
      const given = claims.findLast(event => event.by === by && event.claim === claim && event.at <= invokedAt)
      // What Redis gave it just before the freeze it only learns of when it is back.
      const isRefused = state === 'fenced' && invokedAt <= thawedAt + busyMs
      return isRefused || (given !== undefined && given.at <= frozenAt + slackMs)
    })
    attempted += late.length
    const isClean = !faults.some(
      ({ fault, at }) => !isOfProcess(fault) && at >= frozenAt - settlingMs && at <= thawedAt,
    )
    if (late.length === 0 && isClean) idle++
    for (const { by, invokedAt, spans, state } of late) {
      if (state !== 'committed' || invokedAt < thawedAt) continue
      const tasks = spans.map(({ job, first, count }) => `${job}/${first}+${count}`).join(', ')
      violations.push({
        rule: 'late commit accepted',
        what: `${by} committed ${tasks} at ${invokedAt}, after it had been declared dead`,
        events: [],
      })
    }
  }
  return { freezes: judged.length, attempted, accepted: violations.length, idle, violations }
}

function isOfProcess(fault: string): boolean {
  return /^(worker|driver)-/.test(fault)
}

/** The commits of a worker that was frozen have come by then. */
const settlingMs = 1500
/** On a machine that is busy it may take this long until they have run what they had been given. */
const busyMs = 10_000
/** Events of two processes may be so far out of order: a freeze is written down before it has stopped every thread. */
const slackMs = 50

/** A claim's name is its fence: no two threads may ever have the same, whatever Redis has forgotten. */
export function checkClaims({ claims }: Story): Violation[] {
  const owners = new Map<string, Of<'claimed'>>()
  return claims.flatMap((event): Violation[] => {
    const owner = owners.get(event.claim)
    owners.set(event.claim, event)
    if (owner === undefined || owner.by === event.by) return []
    return [
      {
        rule: 'claim used twice',
        what: `claim ${event.claim} was ${owner.by}'s and ${event.by}'s`,
        events: [owner, event],
      },
    ]
  })
}

/**
 * A result that was accepted is what its own thread worked out before, under the claim that the commit named. A thread that
 * was given a task twice has written down the later claim, whichever it was.
 */
export function checkEffects({ commits, claims, jobs }: Story): Violation[] {
  const claimsOf = new Map<string, Set<string>>()
  for (const { by, claim, chunks } of claims) {
    for (const task of tasksOf(chunks)) {
      const key = `${by} ${task.job} ${task.index}`
      claimsOf.set(key, (claimsOf.get(key) ?? new Set()).add(claim))
    }
  }
  return commits.flatMap(({ by, claim, spans, state, invokedAt }): Violation[] => {
    if (state !== 'committed') return []
    return tasksOf(spans.filter(({ failed }) => failed !== true)).flatMap(({ job, index }): Violation[] => {
      const story = jobs.get(job)
      // The jobs of single calls are known to nobody.
      if (story === undefined) return []
      const effects = story.effects.get(index) ?? []
      const isCertain = claimsOf.get(`${by} ${job} ${index}`)?.size === 1
      const own = effects.filter(effect => effect.by === by && effect.at <= invokedAt)
      if (own.some(effect => effect.claim === claim || !isCertain)) return []
      const what = `${by} committed task ${job}/${index} at ${invokedAt} under claim ${claim} without having run it under that claim`
      return [{ rule: 'committed without effect', what, events: effects }]
    })
  })
}

function tasksOf(spans: readonly Span[]): { readonly job: string; readonly index: number }[] {
  return spans.flatMap(({ job, first, count }) => Array.from({ length: count }, (_, i) => ({ job, index: first + i })))
}

/** Results go in when Redis is full: whatever else waits, what was run is kept. */
export function checkRefused({ commits, faults }: Story): Violation[] {
  const full = faults.filter(({ fault }) => fault === 'redis-maxmemory')
  return commits.flatMap(({ by, invokedAt, answeredAt, state }): Violation[] => {
    const isFull = full.findLast(({ at }) => at <= (answeredAt ?? invokedAt))?.state === 'begins'
    if (state !== 'refused' || !isFull) return []
    return [
      { rule: 'commit refused', what: `Redis was full and refused a commit of ${by} at ${invokedAt}`, events: [] },
    ]
  })
}
