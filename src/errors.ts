/**
 * Every error that Millrace throws. Each is a class with a stable `code`, so that a program can branch on
 * `error.code` (or `instanceof`) and never on a message. Messages are one sentence of what, then why, then what to do.
 */

/** The base of every error that Millrace throws. `code` is stable across releases; messages are not. */
export abstract class MillraceError extends Error {
  abstract readonly code: string

  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = new.target.name
  }
}

/** An option, argument or command line that Millrace cannot accept. Nothing was done. */
export class UsageError extends MillraceError {
  readonly code = 'USAGE'
}

// Redis ---------------------------------------------------------------------------------------------------------------

/** Redis could not be reached within the deadline. */
export class RedisUnreachableError extends MillraceError {
  readonly code = 'REDIS_UNREACHABLE'
}

/** The server is older than Redis 7.0 or Valkey 7.2. */
export class RedisVersionError extends MillraceError {
  readonly code = 'REDIS_VERSION'
}

/** The server's `maxmemory-policy` would let Redis delete waiting tasks; only `noeviction` is accepted. */
export class EvictionPolicyError extends MillraceError {
  readonly code = 'REDIS_EVICTS'
}

/** No `redis-server` (or `valkey-server`) program was found for the embedded mode. */
export class RedisServerMissingError extends MillraceError {
  readonly code = 'REDIS_SERVER_MISSING'
}

/** The embedded `redis-server` could not be started or kept running. */
export class EmbeddedRedisError extends MillraceError {
  readonly code = 'EMBEDDED_REDIS'
}

/** Redis refused a write (memory limit, failed save, read-only replica) for longer than the caller would wait. */
export class RedisRefusesWritesError extends MillraceError {
  readonly code = 'REDIS_REFUSES_WRITES'
}

/** A snapshot (BGSAVE) failed or did not finish in time. */
export class SnapshotError extends MillraceError {
  readonly code = 'SNAPSHOT_FAILED'
}

/** The connection was closed while, or before, the call was made. */
export class ConnectionClosedError extends MillraceError {
  readonly code = 'CONNECTION_CLOSED'
}

// Code ----------------------------------------------------------------------------------------------------------------

/** A task module could not be found, bundled or loaded, or holds no tasks. */
export class TaskModuleError extends MillraceError {
  readonly code = 'TASK_MODULE'
}

/** A task or reducer name that the module (or no worker) knows. */
export class UnknownTaskError extends MillraceError {
  readonly code = 'UNKNOWN_TASK'
}

/** The driver's task module and the workers' differ, so that running the task could give a wrong answer. */
export class CodeMismatchError extends MillraceError {
  readonly code = 'CODE_MISMATCH'
  readonly task: string
  readonly driverHash: string
  readonly workerHashes: readonly string[]

  constructor(message: string, fields: { task: string; driverHash: string; workerHashes: readonly string[] }) {
    super(message)
    this.task = fields.task
    this.driverHash = fields.driverHash
    this.workerHashes = fields.workerHashes
  }
}

/** A local worker did not come up, or went away and could not be started again. */
export class WorkerStartError extends MillraceError {
  readonly code = 'WORKER_START'
}

/** A worker had to end: a thread could not be stopped, or its memory limit was reached. What it held was handed back. */
export class WorkerEndedError extends MillraceError {
  readonly code = 'WORKER_ENDED'
}

// Values --------------------------------------------------------------------------------------------------------------

/** A value that cannot travel (a function, a symbol, an instance of a class). `path` names the offending place, like `$.rows[3].onClick`. */
export class UnencodableValueError extends MillraceError {
  readonly code = 'VALUE_NOT_ENCODABLE'
  readonly path: string

  constructor(message: string, fields: { path: string; cause?: unknown }) {
    super(message, { cause: fields.cause })
    this.path = fields.path
  }
}

/** A value larger than the limit that travels in one piece. */
export class ValueTooLargeError extends MillraceError {
  readonly code = 'VALUE_TOO_LARGE'
  readonly valueBytes: number
  readonly limitBytes: number

  constructor(message: string, fields: { valueBytes: number; limitBytes: number }) {
    super(message)
    this.valueBytes = fields.valueBytes
    this.limitBytes = fields.limitBytes
  }
}

/** Bytes read from Redis that are not what the protocol says should be there. */
export class MalformedDataError extends MillraceError {
  readonly code = 'MALFORMED_DATA'
}

// Jobs ----------------------------------------------------------------------------------------------------------------

/** A job with this id exists with another task or another input. */
export class JobConflictError extends MillraceError {
  readonly code = 'JOB_CONFLICT'
}

/** No job with this id is known to Redis: it never was, it ended and was collected, or it expired. */
export class JobNotFoundError extends MillraceError {
  readonly code = 'JOB_NOT_FOUND'
}

/** A job has one consumer (iteration, `results`, `settled` or `reduce`); this is the second. */
export class JobAlreadyConsumedError extends MillraceError {
  readonly code = 'JOB_ALREADY_CONSUMED'
}

/** The job was cancelled: by `cancel()`, an `AbortSignal`, `break`, or from another process. */
export class JobCancelledError extends MillraceError {
  readonly code = 'JOB_CANCELLED'
}

/** Another process attached to the job and collects it now; this one must stop. */
export class CollectorReplacedError extends MillraceError {
  readonly code = 'COLLECTOR_REPLACED'
}

/** The job's driver died before it had submitted every input: all that was submitted has been delivered. */
export class InputsIncompleteError extends MillraceError {
  readonly code = 'INPUTS_INCOMPLETE'
  /** How many inputs were submitted before the driver went away. */
  readonly submitted: number

  constructor(message: string, fields: { submitted: number }) {
    super(message)
    this.submitted = fields.submitted
  }
}

/** Redis came back with less than it had acknowledged while no driver lived to submit it again. */
export class TasksLostError extends MillraceError {
  readonly code = 'TASKS_LOST'
  /** The lost tasks as half-open ranges of indexes, `[from, to)`. */
  readonly lost: readonly (readonly [from: number, to: number])[]

  constructor(message: string, fields: { lost: readonly (readonly [number, number])[] }) {
    super(message)
    this.lost = fields.lost
  }
}

// Tasks ---------------------------------------------------------------------------------------------------------------

/** Where and how a task failed; common to every {@link TaskError}. */
export interface TaskErrorFields {
  readonly task: string
  readonly jobId: string
  readonly index: number
  readonly attempt: number
  /** The worker that ran the last attempt, as `host:pid/thread`. */
  readonly worker: string
}

/**
 * A task failed on every attempt that it had. `message` is the original error's; `cause` is the original error as far
 * as it could travel (its name, message, stack, own plain fields); `stack` shows where it was submitted and where it threw.
 */
export class TaskError extends MillraceError implements TaskErrorFields {
  readonly code: string = 'TASK_FAILED'
  readonly task: string
  readonly jobId: string
  readonly index: number
  readonly attempt: number
  readonly worker: string

  constructor(message: string, fields: TaskErrorFields & { cause?: unknown }) {
    super(message, { cause: fields.cause })
    this.task = fields.task
    this.jobId = fields.jobId
    this.index = fields.index
    this.attempt = fields.attempt
    this.worker = fields.worker
  }
}

/** A task ran longer than its `timeoutMs` on every attempt that it had. */
export class TaskTimeoutError extends TaskError {
  override readonly code = 'TASK_TIMEOUT'
}

/** A task was cancelled by its handle before it had a result. */
export class TaskCancelledError extends TaskError {
  override readonly code = 'TASK_CANCELLED'
}

/** A task took its thread or process down `maxDeaths` times and was set aside. `evidence` says how. */
export class TaskQuarantinedError extends TaskError {
  override readonly code = 'TASK_QUARANTINED'
  readonly evidence: readonly string[]

  constructor(message: string, fields: TaskErrorFields & { evidence: readonly string[]; cause?: unknown }) {
    super(message, fields)
    this.evidence = fields.evidence
  }
}

/** A quarantined task can't be run again: somebody has its failure already, or it is not in quarantine (any more). */
export class RetryRefusedError extends MillraceError {
  readonly code = 'RETRY_REFUSED'
}

/** A thread did not answer a broadcast before its deadline. */
export class BroadcastTimeoutError extends MillraceError {
  readonly code = 'BROADCAST_TIMEOUT'
}
