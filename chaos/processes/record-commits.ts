import type { subscribe as Subscribe } from 'node:diagnostics_channel'
import type { ClaimMessage, CommitMessage, TracedCommit } from '../../src/store/trace.ts'
import { holds } from '../events.ts'
import type { CommittedSpan, Span } from '../events.ts'
import type { History } from '../history.ts'

/** What a thread was given. */
export interface Claims {
  /** The claim under which it was given that task last. */
  of(job: string, index: number): string
}

/** Writes down what this thread claims and commits, from the channels that `docs/internals.md` names. */
export function recordCommits(history: History, subscribe: typeof Subscribe): Claims {
  const calls = new WeakMap<TracedCommit, number>()
  const claims: { readonly claim: string; readonly chunks: readonly Span[] }[] = []
  let last = 0
  subscribe('millrace:commit', message => {
    const { commit, state } = message as CommitMessage
    if (state === 'invoked') {
      calls.set(commit, ++last)
      const { claim, incarnation } = commit
      history.write({ type: 'commit', call: last, state, claim, incarnation, spans: spansOf(commit) })
      return
    }
    history.write({ type: 'commit', call: calls.get(commit) ?? 0, state })
  })
  subscribe('millrace:claim', message => {
    const { claim, chunks } = message as ClaimMessage
    const claimed = { claim, chunks: chunks.map(({ job, first, count }) => ({ job, first, count })) }
    claims.push(claimed)
    if (claims.length > mostClaims) claims.shift()
    history.write({ type: 'claimed', ...claimed })
  })
  return {
    of: (job, index) => claims.findLast(({ chunks }) => chunks.some(chunk => holds(chunk, job, index)))?.claim ?? '',
  }
}

/** A thread runs one batch and has claimed the next; where its tasks wait it holds some more. */
const mostClaims = 1000

function spansOf({ job, runs }: TracedCommit): readonly CommittedSpan[] {
  return runs.map(({ first, count, kind }) => ({ job, first, count, ...(kind === 'failure' ? { failed: true } : {}) }))
}
