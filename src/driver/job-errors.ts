import {
  CollectorReplacedError,
  ConnectionClosedError,
  InputsIncompleteError,
  JobCancelledError,
  JobConflictError,
  RedisRefusesWritesError,
  MillraceError,
  TasksLostError,
} from '../errors.ts'
import type { Stretch } from './coverage.ts'

/** What the consumer of a cancelled job gets. `cause`: the signal's reason, where a signal did it. */
export function jobCancelled(id: string, cause?: unknown, waitingFor?: string): JobCancelledError {
  const why = cause instanceof Error ? ` (${cause.message.replace(/\.$/, '')})` : ''
  const where = waitingFor === undefined ? '' : ` while it waited for ${waitingFor}`
  return new JobCancelledError(`The job ${id} was cancelled${why}${where}.`, { cause })
}

export function cancelledElsewhere(id: string): JobCancelledError {
  return new JobCancelledError(
    `The job ${id} was cancelled from elsewhere (millrace jobs ${id} --cancel does so), and what it had is gone. Submit it again if that was not meant.`,
  )
}

export function collectorReplaced(id: string): CollectorReplacedError {
  return new CollectorReplacedError(
    `Another connection has attached to the job ${id} and collects it now, so that this one must stop: a job has one collector. Attach again to take it back.`,
  )
}

export function idIsTaken(id: string): JobConflictError {
  return new JobConflictError(`A job with the id ${id} exists already. Choose another id, or attach to it.`)
}

export function alreadyUsed(id: string): JobConflictError {
  return new JobConflictError(
    `The job ${id} is there already, and its result was given to an earlier consumer. Give the call another id, or none.`,
  )
}

export function inputsIncomplete(id: string, submitted: number): InputsIncompleteError {
  return new InputsIncompleteError(
    `The job ${id} ended early: its driver went away after it had submitted ${submitted} inputs, and the rest were never submitted. All that was submitted has been delivered.`,
    { submitted },
  )
}

export function tasksLost(id: string, lost: readonly Stretch[]): TasksLostError {
  const tasks = lost.reduce((sum, [from, to]) => sum + to - from, 0)
  const shown = lost.slice(0, 5).map(([from, to]) => (to - from === 1 ? `${from}` : `${from} to ${to - 1}`))
  const where = `${tasks === 1 ? 'index' : 'indexes'} ${shown.join(', ')}${lost.length > 5 ? ', …' : ''}`
  return new TasksLostError(
    `Redis has lost ${tasks === 1 ? 'a task' : `${tasks} tasks`} of the job ${id} (${where}), and this driver does not have ${tasks === 1 ? 'its input' : 'their inputs'}, because another one submitted them or they were let go. Run them again, as a new job with these inputs; the error's \`lost\` lists them all.`,
    { lost },
  )
}

export function connectionClosed(): ConnectionClosedError {
  return new ConnectionClosedError(
    'The connection is closed, so that nothing can be submitted or read through it: call connect() for another.',
  )
}

/** Redis answered a call with an error that will not go away by itself: permissions, or keys that are damaged again and again. */
export function redisRefused(error: unknown): Error {
  if (error instanceof MillraceError) return error
  const reason = error instanceof Error ? error.message : String(error)
  return new RedisRefusesWritesError(
    `Redis refused a command that Millrace can't do without (${reason.replace(/\.$/, '')}). Allow its user all commands and keys of the namespace, and see that nothing else writes there.`,
    { cause: error },
  )
}
