import { MillraceError, TaskCancelledError, TaskError, TaskQuarantinedError, TaskTimeoutError } from '../errors.ts'
import { reviveFailure } from '../protocol/failure.ts'
import { decodeOutcome } from '../protocol/outcome.ts'

/** Where in the user's program a job was submitted. Capturing is cheap: the text is made when it is asked for. */
export class SubmittedAt {
  readonly #trace: { stack?: string } = {}

  /** The trace begins at the caller of `entry`. */
  constructor(entry: (...args: never[]) => unknown) {
    Error.captureStackTrace(this.#trace, entry)
  }

  /** The lines of the trace, without the first, which names nothing. */
  get lines(): string {
    return (this.#trace.stack ?? '').split('\n').slice(1).join('\n')
  }

  /** The error with this trace, where it came about later, in lines of ours that tell the user nothing. */
  locate(error: unknown): unknown {
    if (!(error instanceof MillraceError) || error instanceof TaskError) return error
    setStack(error, `${error.name}: ${error.message}\n${this.lines}`)
    return error
  }
}

/** The error of a task that has no result, with where it threw and where it was submitted. */
export function taskError(
  bytes: Buffer,
  at: { readonly task: string; readonly jobId: string; readonly index: number; readonly submittedAt: SubmittedAt },
): TaskError {
  const { code, attempt, worker, error, evidence = [] } = decodeOutcome(bytes)
  const cause = reviveFailure(error)
  const { task, jobId, index } = at
  const fields = { task, jobId, index, attempt, worker, cause }
  const made = make(code, cause.message, { ...fields, evidence })
  const threw = (cause.stack ?? '')
    .split('\n')
    .filter(line => /^\s+at /.test(line))
    .join('\n')
  const stack = [
    `${made.name}: ${made.message}`,
    threw,
    `    in task ${JSON.stringify(task)}, index ${index}, attempt ${attempt}, on ${worker}; submitted`,
    at.submittedAt.lines,
  ]
  setStack(made, stack.filter(line => line !== '').join('\n'))
  return made
}

function setStack(error: Error, stack: string): void {
  Object.defineProperty(error, 'stack', { value: stack, writable: true, configurable: true })
}

function make(code: string, message: string, fields: ConstructorParameters<typeof TaskQuarantinedError>[1]): TaskError {
  switch (code) {
    case 'TASK_TIMEOUT':
      return new TaskTimeoutError(message, fields)
    case 'TASK_CANCELLED':
      return new TaskCancelledError(message, fields)
    case 'TASK_QUARANTINED':
      return new TaskQuarantinedError(message, fields)
    default:
      return new TaskError(message, fields)
  }
}
