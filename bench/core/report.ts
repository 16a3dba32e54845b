import { summarize } from './stats.ts'
import type { Summary } from './stats.ts'

/** One side of a comparison: what was measured in each round. */
export interface Measured extends Summary {
  readonly side: string
  /** How the side is used, and why so. */
  readonly how: string
  readonly samples: readonly number[]
}

/** A number to reach, and what was reached. */
export interface Verdict {
  readonly bar: string
  readonly value: number
  readonly limit: number
  /** The value is to be at least the limit; else at most. */
  readonly direction: 'at least' | 'at most'
  readonly met: boolean
}

/** The efficiency of one side over task sizes. */
export interface Curve {
  readonly side: string
  readonly points: readonly CurvePoint[]
}

export interface CurvePoint {
  /** The work in one task, as bare threads do it. */
  readonly workUs: number
  /** Wall time × threads ÷ tasks: Task Bench's granularity, which holds the overhead too. */
  readonly granularityUs: number
  readonly efficiency: number
}

/** The CPU time that one task takes at each place, by the operating system. */
export interface Cost {
  /** The work in one task, as it was asked for. */
  readonly workUs: number
  readonly threads: number
  readonly tasksPerSecond: number
  readonly driverUs: number
  readonly redisUs: number
  /** With the work itself in it. */
  readonly workerUs: number
}

/** What one row has found. Everything in it travels as JSON. */
export interface RowReport {
  readonly title: string
  /** Of the sides' numbers. */
  readonly unit: string
  readonly sides: readonly Measured[]
  readonly verdicts: readonly Verdict[]
  readonly notes: readonly string[]
  readonly curves?: readonly Curve[]
  readonly costs?: readonly Cost[]
  /** Further numbers by name. */
  readonly numbers?: Readonly<Record<string, number>>
}

export function measured(side: string, how: string, samples: readonly number[]): Measured {
  return { side, how, samples, ...summarize(samples) }
}

export function atLeast(bar: string, value: number, limit: number): Verdict {
  return { bar, value, limit, direction: 'at least', met: value >= limit }
}

export function atMost(bar: string, value: number, limit: number): Verdict {
  return { bar, value, limit, direction: 'at most', met: value <= limit }
}

/** The median of a side, which must be there. */
export function medianOf(sides: readonly Measured[], side: string): number {
  const found = sides.find(one => one.side === side)
  if (found === undefined) throw new Error(`No side is called ${side}.`)
  return found.median
}

export function hasSide(sides: readonly Measured[], side: string): boolean {
  return sides.some(one => one.side === side)
}
