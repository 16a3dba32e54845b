import type { Cost } from './report.ts'

/** What a prediction is made for. */
export interface Place {
  readonly threads: number
  /** Shared by driver, Redis and workers; Infinity where each has machines of its own. */
  readonly cores: number
}

type CostPerTask = Pick<Cost, 'driverUs' | 'redisUs' | 'workerUs'>

/**
 * Tasks per second, by whichever is busy first: the driver (one event loop), Redis (one thread a lane), the worker
 * threads, or all cores together.
 */
export function predictRate({ driverUs, redisUs, workerUs }: CostPerTask, { threads, cores }: Place): number {
  const perTaskUs = Math.max(driverUs, redisUs, workerUs / threads, (driverUs + redisUs + workerUs) / cores)
  return 1e6 / perTaskUs
}

/** How many busy threads one lane can keep supplied, and at how many tasks per second. */
export function laneLimit({ redisUs, workerUs }: CostPerTask): {
  readonly threads: number
  readonly tasksPerSecond: number
} {
  return { threads: workerUs / redisUs, tasksPerSecond: 1e6 / redisUs }
}
