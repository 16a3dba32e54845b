import { holds, valueOf } from '../../../chaos/events.ts'
import type { CommittedSpan, Ending, Event, Happening, JobSpec, Span } from '../../../chaos/events.ts'

/** Writes the history of a small run by hand. Every event comes a little after the one before. */
export class Tale {
  readonly events: Event[] = []
  #at = 1000
  #calls = 0
  readonly #claims: { readonly by: string; readonly claim: string; readonly chunks: readonly Span[] }[] = []

  /** Time goes by. */
  wait(ms: number): this {
    this.#at += ms
    return this
  }

  add(by: string, happening: Happening): this {
    this.events.push({ at: (this.#at += 10), by, ...happening })
    return this
  }

  /** A job begins, and all its tasks are submitted. */
  begin(job: string, spec: Partial<JobSpec> = {}, by = 'd1'): this {
    const { count = 2 } = spec
    return this.beginOnly(job, spec, by).submit(by, job, [0, count])
  }

  beginOnly(job: string, spec: Partial<JobSpec> = {}, by = 'd1'): this {
    return this.add(by, {
      type: 'begun',
      job,
      spec: { workload: 'stream', count: 2, salt: 7, ms: 1, poison: {}, ...spec },
    })
  }

  submit(
    by: string,
    job: string,
    [from, to]: readonly [number, number],
    state: 'submitted' | 'out of step' | 'unknown' | 'no answer' = 'submitted',
    incarnation = 'i1',
  ): this {
    const call = ++this.#calls
    this.add(by, { type: 'submit', call, state: 'invoked', job, incarnation, from, to })
    return state === 'no answer' ? this : this.add(by, { type: 'submit', call, state })
  }

  /** A worker's thread runs these tasks of a job whose salt is 7. */
  run(by: string, job: string, ...indexes: number[]): this {
    for (const index of indexes) {
      this.add(by, { type: 'started', job, index, attempt: 1 })
      const claimed = this.#claims.findLast(one => one.by === by && one.chunks.some(chunk => holds(chunk, job, index)))
      this.effect(by, job, index, claimed?.claim ?? '')
    }
    return this
  }

  effect(by: string, job: string, index: number, claim: string): this {
    return this.add(by, { type: 'effect', job, index, attempt: 1, claim, value: valueOf(7, index) })
  }

  claim(by: string, claim: string, ...chunks: Span[]): this {
    this.#claims.push({ by, claim, chunks })
    return this.add(by, { type: 'claimed', claim, chunks })
  }

  commit(
    by: string,
    claim: string,
    spans: readonly CommittedSpan[],
    state: 'committed' | 'discarded' | 'fenced' | 'refused' | 'unknown' | 'no answer' = 'committed',
    incarnation = 'i1',
  ): this {
    const call = ++this.#calls
    this.add(by, { type: 'commit', call, state: 'invoked', claim, incarnation, spans })
    return state === 'no answer' ? this : this.add(by, { type: 'commit', call, state })
  }

  see(job: string, ...indexes: number[]): this {
    return this.seeBy('d1', job, ...indexes)
  }

  seeBy(by: string, job: string, ...indexes: number[]): this {
    for (const index of indexes) this.add(by, { type: 'result', job, index, value: valueOf(7, index) })
    return this
  }

  end(job: string, ending: Ending = { how: 'complete' }, by = 'd1'): this {
    return this.add(by, { type: 'ended', job, ending })
  }

  fail(job: string, code: string, submitted?: number, by = 'd1'): this {
    return this.end(job, { how: 'error', code, message: code, ...(submitted === undefined ? {} : { submitted }) }, by)
  }

  /** Redis goes back to an earlier state. */
  lose(): this {
    this.add('harness', { type: 'history', state: 'ends' })
    return this.add('harness', { type: 'history', state: 'begins' })
  }

  kill(pid: string, what: 'worker' | 'driver' = 'worker'): this {
    return this.add('harness', { type: 'killed', pid, what })
  }

  freeze(pid: string, what: 'worker' | 'driver' = 'worker'): this {
    return this.add('harness', { type: 'frozen', pid, what })
  }

  thaw(pid: string, declaredDead = true, what: 'worker' | 'driver' = 'worker'): this {
    return this.add('harness', { type: 'thawed', pid, what, declaredDead })
  }
}

export function span(job: string, first: number, count = 1): Span {
  return { job, first, count }
}
