import { pidOf } from '../events.ts'
import type { Event } from '../events.ts'

/** The events of a run that are wanted, in the order of their time; may be asked again and again. */
export type ReadEvents = (pick: Pick) => Event[]

/** What is wanted of an event: undefined for none of it. Called once for each, in the order in which its process wrote them. */
export type Pick = (event: Event) => Event | undefined

/**
 * The histories of hours do not fit into memory, and nearly every rule is about one job: so they are judged slice by slice,
 * with the events of some of the jobs and all of those that are about no job.
 */
export function pickSlice(slice: number, slices: number): Pick {
  const isOwn = (job = '') => slices === 1 || hashOf(job) % slices === slice
  const calls = new Calls()
  return event => {
    switch (event.type) {
      case 'claimed': {
        const chunks = event.chunks.filter(({ job }) => isOwn(job))
        return chunks.length === 0 && event.chunks.length > 0 ? undefined : { ...event, chunks }
      }
      case 'submit':
        return calls.follow(event, () => event.state === 'invoked' && isOwn(event.job))
      case 'commit':
        // All its spans are of one job.
        return calls.follow(event, () => event.state === 'invoked' && isOwn(event.spans[0]?.job))
      case 'started':
      case 'effect':
      case 'begun':
      case 'attached':
      case 'submitted':
      case 'result':
      case 'failed':
      case 'ended':
        return isOwn(event.job) ? event : undefined
      default:
        return event
    }
  }
}

/** What was done to the run, and nothing of what it did. */
export function pickFaults(event: Event): Event | undefined {
  return isOfRun(event) ? event : undefined
}

/** For the rules that look across jobs: all claims, without what was claimed, and what these processes committed. */
export function pickFences(pids: ReadonlySet<string>): Pick {
  const calls = new Calls()
  return event => {
    if (event.type === 'claimed') return { ...event, chunks: [] }
    if (event.type === 'commit') return calls.follow(event, () => pids.has(pidOf(event.by)))
    return isOfRun(event) ? event : undefined
  }
}

/** What the drivers did with their jobs, without their results. */
export function pickJobs(event: Event): Event | undefined {
  const isOfJob = ['submit', 'begun', 'attached', 'submitted', 'ended'].includes(event.type)
  return isOfJob || isOfRun(event) ? event : undefined
}

/** An answer goes with its call. */
class Calls {
  readonly #open = new Set<string>()

  follow(event: Extract<Event, { type: 'submit' | 'commit' }>, isWanted: () => boolean): Event | undefined {
    const name = `${event.type} ${event.by} ${event.call}`
    if (event.state !== 'invoked') return this.#open.delete(name) ? event : undefined
    if (!isWanted()) return undefined
    this.#open.add(name)
    return event
  }
}

function isOfRun({ type }: Event): boolean {
  return ['fault', 'history', 'killed', 'frozen', 'thawed'].includes(type)
}

/** FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/). */
function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash >>> 0
}
