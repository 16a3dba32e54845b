import { historyOf } from './history-of.ts'
import type { Story, Submit } from './story.ts'
import type { Violation } from './violation.ts'

type Stretch = readonly [from: number, to: number]

/**
 * A task that has been accepted is not accepted again in the same history of Redis: a batch whose reply was lost may be
 * sent again, and must insert nothing. A call without an answer may have run or not, and does not count.
 */
export function checkSubmits({ submits, losses }: Pick<Story, 'submits' | 'losses'>): Violation[] {
  const accepted = new Map<string, Stretch[]>()
  return submits.flatMap((submit): Violation[] => {
    const { by, job, incarnation, from, to, state, invokedAt } = submit
    const history = historyOf(submit, losses)
    if (state !== 'submitted' || history === undefined || from === to) return []
    const key = `${history} ${job} ${incarnation}`
    const earlier = accepted.get(key) ?? []
    accepted.set(key, [...earlier, [from, to]])
    const again = earlier.find(([start, end]) => start < to && from < end)
    if (again === undefined) return []
    const what = `${by} was told at ${invokedAt} that tasks ${from} to ${to} of ${job} are accepted; ${again[0]} to ${again[1]} had been`
    return [{ rule: 'submitted twice', what, events: [] }]
  })
}

/** What a thread is given, somebody has submitted. A driver writes down a call before it makes it. */
export function checkOrigins({ submits, claims }: Pick<Story, 'submits' | 'claims'>): Violation[] {
  const byJob = new Map<string, Submit[]>()
  for (const submit of submits) {
    const known = byJob.get(submit.job)
    if (known === undefined) byJob.set(submit.job, [submit])
    else known.push(submit)
  }
  return claims.flatMap(event =>
    event.chunks.flatMap(({ job, first, count }): Violation[] => {
      const invoked = (byJob.get(job) ?? []).filter(({ invokedAt }) => invokedAt <= event.at)
      if (covers(invoked, first, first + count)) return []
      const what = `${event.by} was given tasks ${first} to ${first + count} of ${job}, which nobody had submitted`
      return [{ rule: 'never submitted', what, events: [event] }]
    }),
  )
}

function covers(submits: readonly Submit[], from: number, to: number): boolean {
  let reached = from
  for (const submit of [...submits].sort((a, b) => a.from - b.from)) {
    if (submit.from > reached || reached >= to) break
    reached = Math.max(reached, submit.to)
  }
  return reached >= to
}
