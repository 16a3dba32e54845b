import type { JobSpec, Workload } from '../events.ts'

/** What the harness tells a process that it starts, as JSON in the first argument. */
interface ProcessSettings {
  readonly redis: string
  readonly namespace: string
  /** The URL of the task module. */
  readonly tasks: string
  /** The folder of the histories. */
  readonly history: string
}

export interface WorkerSettings extends ProcessSettings {
  readonly threads: number
  readonly leaseMs: number
}

export interface DriverSettings extends ProcessSettings {
  readonly seed: number
  /** What a burning task takes. */
  readonly burnMs: number
  /** How many of them a job has, which run side by side. */
  readonly burns: number
  /** Begins every job id of this driver. */
  readonly name: string
  readonly workloads: readonly Workload[]
  /** Jobs that earlier drivers left, to be gone on with. */
  readonly left: readonly LeftJob[]
}

/** A job whose driver is gone. */
export interface LeftJob {
  readonly job: string
  readonly spec: JobSpec
  /** `attach`, or `map` with the same id and the same inputs. */
  readonly by: 'attach' | 'same id'
}

/** What the harness told this process. */
export function readSettings(): unknown {
  return JSON.parse(process.argv[2] ?? '')
}
