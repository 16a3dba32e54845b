import {
  CollectorReplacedError,
  InputsIncompleteError,
  JobCancelledError,
  JobConflictError,
  TasksLostError,
} from '../errors.ts'
import type { Stretch } from './coverage.ts'

/** What the consumer of a cancelled job gets. `cause`: the signal's reason, where a signal did it. */
export function jobCancelled(id: string, cause?: unknown): JobCancelledError {
  return new JobCancelledError(`The job ${id} was cancelled.`, { cause })
}

export function cancelledElsewhere(id: string): JobCancelledError {
  return new JobCancelledError(`The job ${id} was cancelled from elsewhere.`)
}

export function collectorReplaced(id: string): CollectorReplacedError {
  return new CollectorReplacedError(`Another connection has attached to the job ${id} and collects it now.`)
}

export function idIsTaken(id: string): JobConflictError {
  return new JobConflictError(`A job with the id ${id} exists already. Choose another id, or attach to it.`)
}

export function inputsIncomplete(id: string, submitted: number): InputsIncompleteError {
  return new InputsIncompleteError(
    `The job ${id} ended early: its driver went away after it had submitted ${submitted} inputs, and the rest were never submitted. All that was submitted has been delivered.`,
    { submitted },
  )
}

export function tasksLost(id: string, lost: readonly Stretch[]): TasksLostError {
  const tasks = lost.reduce((sum, [from, to]) => sum + to - from, 0)
  return new TasksLostError(
    `Redis has lost ${tasks} tasks of the job ${id}, whose inputs this driver does not have. Run them again.`,
    { lost },
  )
}
