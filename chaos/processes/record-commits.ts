import type { subscribe as Subscribe } from 'node:diagnostics_channel'
import type { ClaimMessage, CommitMessage, TracedCommit } from '../../src/store/trace.ts'
import type { History } from '../history.ts'

/** Writes down what this thread claims and commits, from the channels that `docs/internals.md` names. */
export function recordCommits(history: History, subscribe: typeof Subscribe): void {
  const calls = new WeakMap<TracedCommit, number>()
  let last = 0
  subscribe('millrace:commit', message => {
    const { commit, state } = message as CommitMessage
    if (state === 'invoked') {
      calls.set(commit, ++last)
      const spans = commit.runs.map(({ first, count }) => ({ job: commit.job, first, count }))
      history.write({ type: 'commit', call: last, state, claim: commit.claim, incarnation: commit.incarnation, spans })
      return
    }
    history.write({ type: 'commit', call: calls.get(commit) ?? 0, state })
  })
  subscribe('millrace:claim', message => {
    const { claim, chunks } = message as ClaimMessage
    history.write({
      type: 'claimed',
      claim,
      chunks: chunks.map(({ job, first, count }) => ({ job, first, count })),
    })
  })
}
