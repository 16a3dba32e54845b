import type { PartState } from '../../protocol/records.ts'

/** A live worker. */
export interface WorkerView {
  readonly id: string
  readonly host: string
  readonly pid: number
  readonly threads: number
  readonly tasks: readonly string[]
  readonly hash: string
  /** Time since the last heartbeat, in ms, by Redis's clock. */
  readonly lastSeenMs: number
}

/** A job's part on one lane. */
export interface JobView {
  readonly id: string
  readonly task: string
  /** The code hash that it needs. */
  readonly hash: string
  readonly state: PartState
  readonly detached: boolean
  readonly priority: number
  readonly createdAtMs: number
  /** Inputs in all, or undefined while they are still being pulled. */
  readonly total: number | undefined
  readonly submitted: number
  readonly waiting: number
  /** On the stage or held by a thread. */
  readonly running: number
  /** Waiting for a retry. */
  readonly delayed: number
  /** Settled with a result. */
  readonly done: number
  readonly failed: number
  /** Results that the collector has used. */
  readonly released: number
  /** When Redis will delete it, in ms from now; undefined when it will not. */
  readonly expiresInMs: number | undefined
}

/** What `snapshot` did. */
export interface SnapshotReport {
  /** The path on the server's machine; '' where the server does not tell it. */
  readonly file: string
  /** Its size; undefined when the server runs on another machine or the file can't be read from here. */
  readonly bytes: number | undefined
  readonly durationMs: number
  /** The server's, or one for each master of a Cluster. */
  readonly servers: readonly ServerSnapshot[]
}

/** One server's snapshot. */
export interface ServerSnapshot {
  /** Its address: `host:port`, or the path of its socket. */
  readonly server: string
  readonly file: string
  readonly bytes: number | undefined
}

/** What a crash of Redis would lose right now. */
export interface DurabilityReport {
  /** One paragraph in words. */
  readonly summary: string
  /** The longest time of acknowledged writes that a crash may lose, in ms; undefined when unbounded or unknown. */
  readonly lossWindowMs: number | undefined
  /** When the append-only file is synced; 'unknown' where the server forbids CONFIG. */
  readonly aof: 'off' | 'always' | 'everysec' | 'no' | 'unknown'
  readonly lastSnapshotAgeMs: number
  readonly writesSinceSnapshot: number
  readonly replicas: number
}

/** One line of `millrace doctor`. */
export interface Check {
  readonly name: string
  readonly status: 'ok' | 'warn' | 'fail'
  readonly detail: string
  /** What to do about it. */
  readonly advice?: string | undefined
}
