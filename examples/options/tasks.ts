import { task } from 'millrace'
import { simulate, type Call, type Sample } from './pricing.js'

/** What all tasks of a simulation share. */
export interface Simulation {
  readonly call: Call
  readonly seed: number
  /** Paths of one task. */
  readonly pathsPerTask: number
}

/** Simulates the paths of one task, from the path `from` on. */
export const paths = task<number, Sample, Simulation>('paths', (from, { shared: { call, seed, pathsPerTask } }) =>
  simulate(call, seed, from, from + pathsPerTask),
)
