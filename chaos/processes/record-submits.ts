import type { subscribe as Subscribe } from 'node:diagnostics_channel'
import type { SubmitMessage, TracedSubmit } from '../../src/store/trace.ts'
import type { History } from '../history.ts'

/** Writes down what this driver submits, from the channel that `docs/internals.md` names. */
export function recordSubmits(history: History, subscribe: typeof Subscribe): void {
  const calls = new WeakMap<TracedSubmit, number>()
  let last = 0
  subscribe('millrace:submit', message => {
    const { submit, state } = message as SubmitMessage
    if (state === 'invoked') {
      calls.set(submit, ++last)
      const { job, incarnation, from, to } = submit
      history.write({ type: 'submit', call: last, state, job, incarnation, from, to })
      return
    }
    history.write({ type: 'submit', call: calls.get(submit) ?? 0, state })
  })
}
