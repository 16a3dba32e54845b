import { channel } from 'node:diagnostics_channel'
import type { Run } from '../protocol/run.ts'
import { refusesWrites } from './reply-error.ts'

/**
 * What happens between a driver or a thread and Redis, told to whoever listens by `node:diagnostics_channel`: the fault
 * tests write histories from it. Nothing is made or sent while nobody listens. The channels belong to the thread that publishes.
 */
const submits = channel('millrace:submit')
const commits = channel('millrace:commit')
const claims = channel('millrace:claim')

/** How a call ended without a reply. 'refused': Redis takes no writes now. 'unknown': the connection broke, or Redis failed. */
type NoReply = 'refused' | 'unknown'

/** One call of `submit`, for the tasks `[from, to)`; the same object in all of its messages. */
export interface TracedSubmit {
  readonly job: string
  readonly incarnation: string
  readonly from: number
  readonly to: number
}

type SubmitWord = 'submitted' | 'conflict' | 'replaced' | 'parked' | 'ended' | 'gone' | 'out of step'

/** A message on `millrace:submit`. */
export interface SubmitMessage {
  readonly submit: TracedSubmit
  readonly state: 'invoked' | SubmitWord | NoReply
}

/** One call of `settle`; the same object in all of its messages. */
export interface TracedCommit {
  readonly claim: string
  readonly job: string
  readonly incarnation: string
  readonly runs: readonly Pick<Run, 'first' | 'count' | 'kind'>[]
}

type CommitWord = 'committed' | 'discarded' | 'fenced'

/** A message on `millrace:commit`. */
export interface CommitMessage {
  readonly commit: TracedCommit
  readonly state: 'invoked' | CommitWord | NoReply
}

/** A message on `millrace:claim`: a thread has been given these chunks. */
export interface ClaimMessage {
  readonly claim: string
  readonly chunks: readonly {
    readonly job: string
    readonly incarnation: string
    readonly first: number
    readonly count: number
    readonly attempt: number
    readonly deaths: number
  }[]
}

export function traceSubmit<T extends { readonly word: SubmitWord }>(
  submit: TracedSubmit,
  call: () => Promise<T>,
): Promise<T> {
  if (!submits.hasSubscribers) return call()
  return traced<SubmitWord, T>(call, state => {
    submits.publish({ submit, state } satisfies SubmitMessage)
  })
}

export function traceCommit<T extends { readonly word: CommitWord }>(
  commit: TracedCommit,
  call: () => Promise<T>,
): Promise<T> {
  if (!commits.hasSubscribers) return call()
  return traced<CommitWord, T>(call, state => {
    commits.publish({ commit, state } satisfies CommitMessage)
  })
}

export function traceClaim(claim: string, chunks: () => ClaimMessage['chunks']): void {
  if (claims.hasSubscribers) claims.publish({ claim, chunks: chunks() } satisfies ClaimMessage)
}

async function traced<W extends string, T extends { readonly word: W }>(
  call: () => Promise<T>,
  publish: (state: 'invoked' | W | NoReply) => void,
): Promise<T> {
  publish('invoked')
  try {
    const reply = await call()
    publish(reply.word)
    return reply
  } catch (error) {
    publish(refusesWrites(error) ? 'refused' : 'unknown')
    throw error
  }
}
