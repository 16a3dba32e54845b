import type { Event, JobSpec } from './events.ts'
import type { LeftJob } from './processes/settings.ts'
import type { Random } from './random.ts'

/**
 * The jobs that the drivers of these events have begun and not ended, and how the next one goes on with each: by `attach`,
 * or for half of the streams by `map` with the same id and inputs. Not for one whose results were all seen: if it is gone
 * already, the same id would begin it anew.
 *
 * Whoever attached last has the job. A driver that was frozen may still see single calls through; that ends nothing.
 */
export function leftJobs(events: readonly Event[], dice: Random): LeftJob[] {
  const open = new Map<string, { readonly spec: JobSpec; holder: string }>()
  const seen = new Map<string, Set<number>>()
  for (const event of events) {
    // Nobody knows the job of a call of `run`: it goes with its driver.
    if (event.type === 'begun' && event.spec.workload !== 'calls')
      open.set(event.job, { spec: event.spec, holder: event.by })
    if (event.type === 'result') seen.set(event.job, (seen.get(event.job) ?? new Set()).add(event.index))
    const job = event.type === 'attached' ? open.get(event.job) : undefined
    if (job !== undefined) job.holder = event.by
  }
  for (const event of events) {
    if (event.type !== 'ended' || isReplaced(event)) continue
    const isGone = event.ending.how === 'error'
    if (isGone || open.get(event.job)?.holder === event.by) open.delete(event.job)
  }
  return [...open].map(([job, { spec }]) => {
    const mayBeGone = seen.get(job)?.size === spec.count
    const by = spec.workload === 'stream' && !mayBeGone && dice() < 0.5 ? 'same id' : 'attach'
    return { job, spec, by }
  })
}

/** For its former driver it has ended; another one has it. */
function isReplaced({ ending }: Extract<Event, { type: 'ended' }>): boolean {
  return ending.how === 'error' && ending.code === 'COLLECTOR_REPLACED'
}
