import { Coverage } from '../../src/driver/coverage.ts'
import { historyOf } from './history-of.ts'
import type { Story } from './story.ts'
import type { Violation } from './violation.ts'

/**
 * A task that has been accepted is not accepted again in the same history of Redis: a batch whose reply was lost may be
 * sent again, and must insert nothing. A call without an answer may have run or not, and does not count.
 */
export function checkSubmits({ submits, losses }: Pick<Story, 'submits' | 'losses'>): Violation[] {
  const accepted = new Map<string, Coverage>()
  return submits.flatMap((submit): Violation[] => {
    const { by, job, incarnation, from, to, state, invokedAt } = submit
    const history = historyOf(submit, losses)
    if (state !== 'submitted' || history === undefined || from === to) return []
    const key = `${history} ${job} ${incarnation}`
    const earlier = accepted.get(key) ?? new Coverage()
    accepted.set(key, earlier)
    const fresh = earlier.gaps(from, to).reduce((sum, [start, end]) => sum + end - start, 0)
    earlier.add(from, to)
    if (fresh === to - from) return []
    const what = `${by} was told at ${invokedAt} that tasks ${from} to ${to} of ${job} are accepted, and ${to - from - fresh} of them had been`
    return [{ rule: 'submitted twice', what, events: [] }]
  })
}

/** What a thread is given, somebody has submitted. A driver writes down a call before it makes it. */
export function checkOrigins({ submits, claims }: Pick<Story, 'submits' | 'claims'>): Violation[] {
  const submitted = new Map<string, Coverage>()
  let next = 0
  return claims.flatMap(event => {
    for (let submit = submits[next]; submit !== undefined && submit.invokedAt <= event.at; submit = submits[++next]) {
      const coverage = submitted.get(submit.job) ?? new Coverage()
      submitted.set(submit.job, coverage)
      coverage.add(submit.from, submit.to)
    }
    return event.chunks.flatMap(({ job, first, count }): Violation[] => {
      if (submitted.get(job)?.gaps(first, first + count).length === 0) return []
      const what = `${event.by} was given tasks ${first} to ${first + count} of ${job}, which nobody had submitted`
      return [{ rule: 'never submitted', what, events: [event] }]
    })
  })
}
