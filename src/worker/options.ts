import { availableParallelism } from 'node:os'
import { UsageError } from '../errors.ts'
import { silentLog } from '../runtime/log.ts'
import type { Log } from '../runtime/log.ts'
import { fleetNames } from '../store/fleet-names.ts'
import type { RedisInput } from '../store/target.ts'

/** Options of {@link startWorker}. */
export interface WorkerOptions {
  /** The task module: a path, or `new URL('./tasks.ts', import.meta.url)`. */
  readonly tasks: string | URL
  /** Where Redis is; see `connect`. @default the environment's `REDIS_URL` */
  readonly redis?: RedisInput
  /** Threads that run tasks, besides the main thread, which runs none. @default one per core */
  readonly threads?: number
  /** Only work of this queue is taken. @default the environment's `MILLRACE_QUEUE`, else 'default' */
  readonly queue?: string
  /** Prefix of every key and channel. @default the environment's `MILLRACE_NAMESPACE`, else 'millrace' */
  readonly namespace?: string
  /** How long this worker may be silent before its tasks are given to others, in ms. Shorter finds deaths sooner and costs more heartbeats. @default 6000 */
  readonly leaseMs?: number
  /** How long running tasks may take to finish when the worker drains, in ms. @default 25_000 */
  readonly drainMs?: number
  /** The heap of each thread, in MB. A task that needs more ends its thread. @default Node's own limit */
  readonly heapMb?: number
  /** The memory of the process, in MB, at which the worker drains and ends; for what heaps don't cover. @default no limit */
  readonly rssMb?: number
  /** How often a task may take its thread or process down before it is set aside. @default 3 */
  readonly maxDeaths?: number
  /** Where the worker says what a person may want to know, and tasks' `ctx.log` goes. @default nowhere */
  readonly log?: Log
  /** Drain on SIGTERM and SIGINT and exit with 0; on the second one end by it at once. @default false */
  readonly signals?: boolean
}

/** WorkerOptions after validation, with their defaults; without where Redis and the tasks are. */
export interface ResolvedWorkerOptions {
  readonly threads: number
  readonly queue: string
  readonly namespace: string
  readonly leaseMs: number
  readonly drainMs: number
  readonly heapMb: number | undefined
  readonly rssMb: number | undefined
  readonly maxDeaths: number
  readonly log: Log
}

/** @throws {UsageError} */
export function resolveWorkerOptions(options: Omit<WorkerOptions, 'tasks' | 'redis'>): ResolvedWorkerOptions {
  const { log = silentLog, heapMb, rssMb } = options
  return {
    threads: whole('threads', options.threads ?? availableParallelism(), 1, 1024),
    ...fleetNames(options),
    // Shorter than that, a blocked BLMOVE could outlive the lease of a frozen worker (see the reaper).
    leaseMs: whole('leaseMs', options.leaseMs ?? 6000, 1000, 3_600_000),
    drainMs: whole('drainMs', options.drainMs ?? 25_000, 0, 86_400_000),
    heapMb: heapMb === undefined ? undefined : whole('heapMb', heapMb, 16, 1_000_000),
    rssMb: rssMb === undefined ? undefined : whole('rssMb', rssMb, 64, 1_000_000_000),
    maxDeaths: whole('maxDeaths', options.maxDeaths ?? 3, 1, 1000),
    log,
  }
}

function whole(option: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value
  throw new UsageError(
    `The worker's ${option} can't be ${String(value)}: give a whole number from ${least} to ${most}.`,
  )
}
