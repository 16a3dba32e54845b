import type { CommittedSpan, Event, JobSpec } from '../events.ts'

/** The events of a run, sorted by what they are about. */
export interface Story {
  readonly jobs: ReadonlyMap<string, JobStory>
  readonly submits: readonly Submit[]
  readonly commits: readonly Commit[]
  readonly claims: readonly Of<'claimed'>[]
  /** The times at which Redis went back to an earlier state. */
  readonly losses: readonly Loss[]
  readonly kills: readonly Of<'killed'>[]
  readonly freezes: readonly Freeze[]
  /** The faults as they began and ended. */
  readonly faults: readonly Of<'fault'>[]
}

export type Of<T extends Event['type']> = Extract<Event, { type: T }>

export interface JobStory {
  readonly job: string
  readonly begun: Of<'begun'>
  readonly spec: JobSpec
  readonly starts: ReadonlyMap<number, readonly Of<'started'>[]>
  readonly effects: ReadonlyMap<number, readonly Of<'effect'>[]>
  /** Each driver that had the job, in the order in which they had it. */
  readonly lives: readonly Life[]
}

/** What one driver wrote of one job. */
export interface Life {
  readonly by: string
  readonly attached: Of<'attached'> | undefined
  readonly submitted: Of<'submitted'> | undefined
  readonly outcomes: readonly (Of<'result'> | Of<'failed'>)[]
  readonly ended: Of<'ended'> | undefined
}

/** One call, for the tasks `[from, to)`. `answeredAt` is undefined when its caller died before the answer. */
export interface Submit {
  readonly by: string
  readonly job: string
  readonly incarnation: string
  readonly from: number
  readonly to: number
  readonly invokedAt: number
  readonly answeredAt: number | undefined
  readonly state: Answer<'submit'>
}

/** How a call may end. */
type Answer<T extends 'submit' | 'commit'> = Exclude<Of<T>['state'], 'invoked'>

/** One call. `answeredAt` is undefined when its caller died before the answer. */
export interface Commit {
  readonly by: string
  readonly claim: string
  readonly incarnation: string
  readonly spans: readonly CommittedSpan[]
  readonly invokedAt: number
  readonly answeredAt: number | undefined
  readonly state: Answer<'commit'>
}

export interface Loss {
  readonly endsAt: number
  readonly beginsAt: number
}

export interface Freeze {
  readonly pid: string
  readonly what: 'worker' | 'driver'
  readonly frozenAt: number
  readonly thawedAt: number
  readonly declaredDead: boolean
}

export function tellStory(events: readonly Event[]): Story {
  const of = <T extends Event['type']>(type: T) => events.filter((event): event is Of<T> => event.type === type)
  return {
    jobs: jobsOf(events, of('begun')),
    submits: callsOf(of('submit')),
    commits: callsOf(of('commit')),
    claims: of('claimed'),
    losses: lossesOf(of('history')),
    kills: of('killed'),
    freezes: freezesOf(of('frozen'), of('thawed')),
    faults: of('fault'),
  }
}

function jobsOf(events: readonly Event[], begun: readonly Of<'begun'>[]): Map<string, JobStory> {
  const starts = new Map<string, Map<number, Of<'started'>[]>>()
  const effects = new Map<string, Map<number, Of<'effect'>[]>>()
  const lives = new Map<string, Map<string, Writable<Life>>>()
  const lifeOf = (job: string, by: string) => {
    const own = getOrMake(lives, job, () => new Map<string, Writable<Life>>())
    return getOrMake(own, by, () => ({
      by,
      attached: undefined,
      submitted: undefined,
      outcomes: [] as (Of<'result'> | Of<'failed'>)[],
      ended: undefined,
    }))
  }
  for (const event of events) {
    switch (event.type) {
      case 'started':
        push(getOrMake(starts, event.job, newMap<Of<'started'>>), event.index, event)
        break
      case 'effect':
        push(getOrMake(effects, event.job, newMap<Of<'effect'>>), event.index, event)
        break
      case 'begun':
        lifeOf(event.job, event.by)
        break
      case 'attached':
        lifeOf(event.job, event.by).attached = event
        break
      case 'submitted':
        lifeOf(event.job, event.by).submitted = event
        break
      case 'ended':
        lifeOf(event.job, event.by).ended = event
        break
      case 'result':
      case 'failed':
        ;(lifeOf(event.job, event.by).outcomes as (Of<'result'> | Of<'failed'>)[]).push(event)
        break
      case 'submit':
      case 'claimed':
      case 'commit':
      case 'fault':
      case 'history':
      case 'killed':
      case 'frozen':
      case 'thawed':
        break
    }
  }
  return new Map(
    begun.map(event => [
      event.job,
      {
        job: event.job,
        begun: event,
        spec: event.spec,
        starts: starts.get(event.job) ?? new Map(),
        effects: effects.get(event.job) ?? new Map(),
        lives: [...(lives.get(event.job)?.values() ?? [])],
      },
    ]),
  )
}

interface CallEvent {
  readonly at: number
  readonly by: string
  readonly call: number
  readonly state: string
}

/** Brings together how each call was made and how it was answered. */
function callsOf<E extends CallEvent>(events: readonly E[]) {
  type Invoked = Extract<E, { readonly state: 'invoked' }>
  type Answer = Exclude<E['state'], 'invoked'> | 'unknown'
  const calls = new Map<string, { invoked: Invoked; state: Answer; answeredAt: number | undefined }>()
  for (const event of events) {
    const key = `${event.by} ${event.call}`
    const call = calls.get(key)
    if (event.state === 'invoked')
      calls.set(key, { invoked: event as Invoked, state: 'unknown', answeredAt: undefined })
    else if (call !== undefined) {
      call.state = event.state as Answer
      call.answeredAt = event.at
    }
  }
  return [...calls.values()].map(({ invoked, state, answeredAt }) => ({
    ...invoked,
    invokedAt: invoked.at,
    answeredAt,
    state,
  }))
}

function lossesOf(events: readonly Of<'history'>[]): Loss[] {
  const losses: Loss[] = []
  let endsAt: number | undefined
  for (const { at, state } of events) {
    if (state === 'ends') endsAt = at
    else if (endsAt !== undefined) losses.push({ endsAt, beginsAt: at })
  }
  return losses
}

function freezesOf(frozen: readonly Of<'frozen'>[], thawed: readonly Of<'thawed'>[]): Freeze[] {
  return frozen.flatMap(({ pid, what, at }) => {
    const thaw = thawed.find(event => event.pid === pid && event.at >= at)
    return thaw === undefined ? [] : [{ pid, what, frozenAt: at, thawedAt: thaw.at, declaredDead: thaw.declaredDead }]
  })
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

function newMap<T>(): Map<number, T[]> {
  return new Map()
}

function getOrMake<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key)
  if (known !== undefined) return known
  const made = make()
  map.set(key, made)
  return made
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  getOrMake(map, key, () => []).push(value)
}
