import { codeOfPoison, pidOf, poisonLimitMs, valueOf } from '../events.ts'
import type { Event, JobSpec, Poison } from '../events.ts'
import type { Commit, JobStory, Life, Of, Story } from './story.ts'
import type { Rule, Violation } from './violation.ts'

/** What the drivers saw of each job: all of it, once, right, and of tasks that ran. */
export function checkDelivery(story: Story): Violation[] {
  return [...story.jobs.values()].flatMap(job => checkJob(job, story))
}

function checkJob(job: JobStory, story: Story): Violation[] {
  const found: Violation[] = []
  const blame = (rule: Rule, what: string, ...events: (Event | undefined)[]) => {
    found.push({ rule, what: `job ${job.job} (${job.spec.workload}): ${what}`, events: events.filter(isEvent) })
  }
  for (const life of job.lives) {
    checkOrder(job.spec, life, blame)
    for (const outcome of life.outcomes) checkOutcome(job, story, outcome, blame)
  }
  checkEndings(job, story, blame)
  return found
}

type Blame = (rule: Rule, what: string, ...events: (Event | undefined)[]) => void

function checkOrder({ workload, unordered = false }: JobSpec, { outcomes }: Life, blame: Blame): void {
  const inOrder = workload !== 'burst' && workload !== 'calls' && !unordered
  const seen = new Map<number, Event>()
  let last: Of<'result'> | Of<'failed'> | undefined
  for (const outcome of outcomes) {
    const earlier = seen.get(outcome.index)
    if (earlier !== undefined) blame('delivered twice', `one driver saw task ${outcome.index} twice`, earlier, outcome)
    else if (inOrder && last !== undefined && outcome.index !== last.index + 1)
      blame('delivered twice', `task ${outcome.index} came after task ${last.index}`, last, outcome)
    seen.set(outcome.index, outcome)
    last = outcome
  }
}

function checkOutcome(
  { spec, starts, effects }: JobStory,
  { freezes }: Story,
  outcome: Of<'result'> | Of<'failed'>,
  blame: Blame,
): void {
  const { index } = outcome
  const poison = spec.poison[index]
  if (index < 0 || index >= spec.count) return blame('wrong value', `there is no task ${index}`, outcome)
  if (!starts.has(index)) blame('never attempted', `task ${index} has an outcome and never ran`, outcome)
  if (outcome.type === 'failed') {
    const expected = poison === undefined ? undefined : codeOfPoison[poison]
    if (expected === undefined) {
      const rule = outcome.code === 'TASK_QUARANTINED' ? 'charged wrongly' : 'unexplained error'
      blame(rule, `task ${index} does no harm and failed with ${outcome.code}`, outcome)
    } else if (outcome.code !== expected && !isExcused(poison, starts.get(index), freezes, outcome))
      blame('unexplained error', `task ${index} (${poison}) failed with ${outcome.code}, not ${expected}`, outcome)
    return
  }
  if (poison !== undefined) blame('wrong value', `task ${index} (${poison}) has a result`, outcome)
  if (outcome.value !== valueOf(spec.salt, index))
    blame('wrong value', `task ${index} gave ${outcome.value}, not ${valueOf(spec.salt, index)}`, outcome)
  if (!effects.has(index)) blame('never attempted', `task ${index} has a result and no effect`, outcome)
}

/** Whether what was done to its workers explains that a harmful task ended in another way than by itself. */
function isExcused(
  poison: Poison | undefined,
  starts: readonly Of<'started'>[] = [],
  freezes: Story['freezes'],
  { code, at }: Of<'failed'>,
): boolean {
  // Its process stood still before anybody saw how it ended, and when it went on the time was over.
  if (code === 'TASK_TIMEOUT' && starts.some(start => at - start.at >= poisonLimitMs && stoodStill(start, at, freezes)))
    return true
  // It had all of its time: a worker that was frozen meanwhile does not fill its heap before that is over.
  if (poison === 'heap') return code === 'TASK_TIMEOUT' && starts.some(start => at - start.at >= poisonLimitMs)
  // It runs so long that its process was killed, or taken for dead, under it each time.
  return poison === 'loop' && code === 'TASK_QUARANTINED' && starts.length >= maxDeaths
}

/** Whether its process was frozen after it started, and before it was known to have failed. */
function stoodStill(start: Of<'started'>, failedAt: number, freezes: Story['freezes']): boolean {
  return freezes.some(
    ({ pid, frozenAt, thawedAt }) => pid === pidOf(start.by) && thawedAt >= start.at && frozenAt <= failedAt,
  )
}

/** The workers' default. */
const maxDeaths = 3

// How it ended --------------------------------------------------------------------------------------------------------

function checkEndings(job: JobStory, story: Story, blame: Blame): void {
  const endings = job.lives.flatMap(({ ended }) => (ended === undefined ? [] : [ended]))
  const final = endings.filter(event => !isReplaced(event))
  // Calls of `run` go with their driver: nobody knows their job.
  const isGone = job.spec.workload === 'calls' && story.kills.some(({ pid }) => pid === job.begun.by)
  if (final.length === 0 && !isGone) {
    blame('lost', `it never ended; ${seenOf(job).size} of ${job.spec.count} outcomes were seen`, job.begun, ...endings)
  }
  for (const life of job.lives) {
    if (life.ended === undefined) continue
    const { ending } = life.ended
    if (ending.how === 'complete') checkComplete(job, life.ended, ending.aggregate, blame)
    else if (!isExplained(job, life, story))
      blame('unexplained error', `it ended with ${ending.code}: ${ending.message}`, job.begun, life.ended)
  }
  const aggregates = endings.filter(({ ending }) => ending.how === 'complete' && ending.aggregate !== undefined)
  if (aggregates.length > 1 && !isReplacementForgotten(job, story))
    blame('wrong aggregate', 'two drivers were given the sum', ...aggregates)
}

function checkComplete(job: JobStory, ended: Of<'ended'>, aggregate: number | undefined, blame: Blame): void {
  const { count, salt, workload } = job.spec
  const all = Array.from({ length: count }, (_, index) => index)
  if (workload === 'reduce') {
    const expected = all.reduce((sum, index) => sum + valueOf(salt, index), 0)
    if (aggregate !== expected) blame('wrong aggregate', `the sum is ${String(aggregate)}, not ${expected}`, ended)
    const idle = all.filter(index => !job.effects.has(index))
    if (idle.length > 0) blame('never attempted', `its sum was given, and ${some(idle)} left no effect`, ended)
    return
  }
  const seen = seenOf(job)
  const missing = all.filter(index => !seen.has(index))
  if (missing.length > 0) blame('lost', `it ended, and ${some(missing)} had no outcome`, ended)
}

/** Redis lost the job and who had it after another driver had attached: the former one, frozen meanwhile, does it all anew. */
function isReplacementForgotten({ lives }: JobStory, { losses }: Story): boolean {
  const attachedAt = Math.min(...lives.flatMap(({ attached }) => (attached === undefined ? [] : [attached.at])))
  const endedAt = Math.max(...lives.flatMap(({ ended }) => (ended === undefined ? [] : [ended.at])))
  return losses.some(({ endsAt, beginsAt }) => beginsAt >= attachedAt && endsAt <= endedAt)
}

/** An error that a job may end with, given what was done to its driver and to Redis. */
function isExplained(job: JobStory, life: Life, story: Story): boolean {
  const { ended, by } = life
  if (ended?.ending.how !== 'error') return true
  const isTakenOver = job.lives.length > 1
  const wasLost = story.losses.some(loss => loss.beginsAt >= job.begun.at && loss.endsAt <= ended.at)
  switch (ended.ending.code) {
    case 'COLLECTOR_REPLACED':
      return (
        story.freezes.some(({ what, pid }) => what === 'driver' && pid === by) ||
        wasTakenOver(job, life, story) ||
        wasForgotten(life, story)
      )
    case 'INPUTS_INCOMPLETE':
      // Where Redis has lost some of them, the count is what it still knows.
      return isTakenOver && life.attached?.how === 'attach' && (wasLost || isCountTrue(job, ended))
    case 'TASKS_LOST':
      // The driver that had the inputs is gone.
      return isTakenOver && wasLost
    case 'JOB_NOT_FOUND':
      return (
        isTakenOver &&
        (wasLost || job.starts.size === 0 || isSettled(job, story.commits) || wasEndedEarly(job.lives, life))
      )
    default:
      return false
  }
}

/**
 * InputsIncompleteError says how many inputs Redis had been given: those that ran are among them, and all were delivered. What came
 * after the end is another job's, which a driver that had been frozen may begin under the same id.
 */
function isCountTrue(job: JobStory, { at, ending }: Of<'ended'>): boolean {
  const { count, workload } = job.spec
  const submitted = (ending.how === 'error' ? ending.submitted : undefined) ?? -1
  const started = [...job.starts].flatMap(([index, starts]) => (starts.some(start => start.at < at) ? [index] : []))
  if (submitted < 0 || submitted > count || Math.max(-1, ...started) >= submitted) return false
  if (job.lives.some(life => life.submitted !== undefined && life.submitted.at < at)) return false
  const seen = seenOf(job)
  // `settled` and `reduce` give nothing when they reject.
  return (
    workload === 'reduce' ||
    workload === 'poison' ||
    Array.from({ length: submitted }, (_, i) => i).every(i => seen.has(i))
  )
}

/** Another driver that had attached found that not all inputs had been submitted: with that the job ends. */
function wasEndedEarly(lives: readonly Life[], own: Life): boolean {
  return lives.some(
    ({ ended }) => ended !== own.ended && ended?.ending.how === 'error' && ended.ending.code === 'INPUTS_INCOMPLETE',
  )
}

/** The driver died after the last result was used, and before it could say so. */
function isSettled(job: JobStory, commits: readonly Commit[]): boolean {
  const settled = seenOf(job)
  for (const { spans, state } of commits) {
    if (state !== 'committed' && state !== 'unknown') continue
    for (const span of spans) {
      if (span.job === job.job) for (let i = 0; i < span.count; i++) settled.add(span.first + i)
    }
  }
  return settled.size === job.spec.count
}

function seenOf({ lives }: Pick<JobStory, 'lives'>): Set<number> {
  return new Set(lives.flatMap(({ outcomes }) => outcomes.map(({ index }) => index)))
}

/** So long after it the answer to a call may reach its caller, who writes it down only then: whoever is replaced may hear of it before. */
const answerMs = 10_000

/** Another driver's `attach` came through after this one's: it may have begun earlier, and asked again after a freeze. */
function wasTakenOver({ job, lives, begun }: JobStory, life: Life, { submits }: Story): boolean {
  const { attached, ended } = life
  const from = attached?.at ?? begun.at
  const isMeanwhile = (event: Event | undefined) =>
    event !== undefined && ended !== undefined && event.at > from && event.at <= ended.at + answerMs
  return lives.some(other => {
    if (other === life) return false
    if (isMeanwhile(other.attached)) return true
    // The same id again is written down when it is asked for: that it has come through shows when what it submits is taken,
    // or in that the job was still its own after this one had been replaced.
    if (other.attached?.how !== 'same id') return false
    if (ended !== undefined && other.ended !== undefined && other.ended.at > ended.at && !isReplaced(other.ended))
      return true
    const isTaken = submits.some(
      submit => submit.job === job && submit.by === other.by && submit.state === 'submitted' && submit.invokedAt > from,
    )
    return isTaken || isMeanwhile(other.submitted)
  })
}

/** Redis lost that this driver attached, and the one before it has the job again. */
function wasForgotten({ attached, ended }: Life, { losses }: Story): boolean {
  return (
    attached !== undefined &&
    ended !== undefined &&
    losses.some(({ endsAt, beginsAt }) => beginsAt >= attached.at && endsAt <= ended.at)
  )
}

function isReplaced({ ending }: Of<'ended'>): boolean {
  return ending.how === 'error' && ending.code === 'COLLECTOR_REPLACED'
}

function isEvent(event: Event | undefined): event is Event {
  return event !== undefined
}

function some(indexes: readonly number[]): string {
  const shown = indexes.slice(0, 5).join(', ')
  return `${indexes.length} tasks (${shown}${indexes.length > 5 ? ', …' : ''})`
}
