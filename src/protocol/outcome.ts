import type { FailureRecord } from './failure.ts'
import { decodeValue, encodeValue } from './values.ts'

/** Why a task has no result. */
export type FailureCode =
  | 'TASK_FAILED'
  | 'TASK_TIMEOUT'
  | 'TASK_CANCELLED'
  | 'TASK_QUARANTINED'
  | 'VALUE_NOT_ENCODABLE'
  | 'VALUE_TOO_LARGE'
  | 'UNKNOWN_TASK'
  | 'MALFORMED_DATA'

/** What a run of kind `failure` holds: how a task ended that has no result, on its last attempt. */
export interface FailureOutcome {
  /** A FailureCode; a newer worker may know others. */
  readonly code: string
  readonly attempt: number
  /** The worker that ran the attempt, as `host:pid/thread`. */
  readonly worker: string
  readonly error: FailureRecord
  /** What is known of the end of a quarantined task: exit codes, its last log lines, memory. */
  readonly evidence?: readonly string[]
}

const evidenceLines = 40
const evidenceCharacters = 1000

export function encodeOutcome(outcome: FailureOutcome & { readonly code: FailureCode }): Buffer {
  const { code, attempt, worker, error, evidence } = outcome
  const lines = evidence?.slice(0, evidenceLines).map(line => line.slice(0, evidenceCharacters))
  return encodeValue({ code, attempt, worker, error, ...(lines === undefined ? {} : { evidence: lines }) })
}

/**
 * The outcome of a failure run. Takes any bytes: what is missing or of the wrong kind is left empty, because a failure
 * that can't be read is still a failure. `error` is for `reviveFailure`, which takes anything.
 */
export function decodeOutcome(bytes: Uint8Array): FailureOutcome {
  const { code, attempt, worker, error, evidence } = fieldsOf(bytes)
  return {
    code: typeof code === 'string' ? code : 'TASK_FAILED',
    attempt: typeof attempt === 'number' && attempt > 0 ? attempt : 1,
    worker: typeof worker === 'string' ? worker : '',
    error: error as FailureRecord,
    ...(Array.isArray(evidence) ? { evidence: evidence.filter(line => typeof line === 'string') } : {}),
  }
}

function fieldsOf(bytes: Uint8Array): Readonly<Record<keyof FailureOutcome, unknown>> {
  const none = { code: undefined, attempt: undefined, worker: undefined, error: undefined, evidence: undefined }
  try {
    const value = decodeValue(bytes)
    return typeof value === 'object' && value !== null ? { ...none, ...value } : none
  } catch {
    return {
      ...none,
      error: { kind: 'error', name: 'Error', message: 'The failure of the task can’t be read.', stack: '' },
    }
  }
}
