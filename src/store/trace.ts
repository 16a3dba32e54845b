import { channel } from 'node:diagnostics_channel'
import type { Run } from '../protocol/run.ts'
import { refusesWrites } from './reply-error.ts'

/**
 * What happens between a thread and Redis, told to whoever listens by `node:diagnostics_channel`: the fault tests write
 * histories from it. Nothing is made or sent while nobody listens. The channels belong to the thread that publishes.
 */
const commits = channel('millrace:commit')
const claims = channel('millrace:claim')

/** One call of `settle`; the same object in all of its messages. */
export interface TracedCommit {
  readonly claim: string
  readonly job: string
  readonly incarnation: string
  readonly runs: readonly Pick<Run, 'first' | 'count' | 'kind'>[]
}

/** A message on `millrace:commit`. 'refused': Redis takes no writes now. 'unknown': the connection broke, or Redis failed. */
export interface CommitMessage {
  readonly commit: TracedCommit
  readonly state: 'invoked' | 'committed' | 'discarded' | 'fenced' | 'refused' | 'unknown'
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

export async function traceCommit<T extends { readonly word: 'committed' | 'discarded' | 'fenced' }>(
  commit: TracedCommit,
  call: () => Promise<T>,
): Promise<T> {
  if (!commits.hasSubscribers) return call()
  const publish = (state: CommitMessage['state']) => {
    commits.publish({ commit, state } satisfies CommitMessage)
  }
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

export function traceClaim(claim: string, chunks: () => ClaimMessage['chunks']): void {
  if (claims.hasSubscribers) claims.publish({ claim, chunks: chunks() } satisfies ClaimMessage)
}
