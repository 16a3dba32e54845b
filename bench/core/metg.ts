import type { CurvePoint } from './report.ts'

/** Where a curve comes down to the share; or that it never does in the range that was looked at, and on which side. */
export type Crossing =
  | { readonly kind: 'at'; readonly us: number }
  /** Even the finest tasks keep the share: the METG is at most this. */
  | { readonly kind: 'at most'; readonly us: number }
  /** Not even the coarsest tasks reach the share: the METG is more than this. */
  | { readonly kind: 'more than'; readonly us: number }

/**
 * METG: the smallest granularity at which the efficiency is still `share`, as Task Bench has it (Slaughter et al.,
 * "Task Bench: A Parameterized Benchmark for Evaluating Parallel Runtime Performance", SC'20), interpolated on a log
 * axis between the points on either side. The coarsest crossing counts: what is finer does not redeem it.
 *
 * @throws {RangeError} for no points.
 */
export function metg(points: readonly CurvePoint[], share = 0.5): Crossing {
  const sorted = [...points].sort((a, b) => b.workUs - a.workUs)
  const below = sorted.findIndex(({ efficiency }) => efficiency < share)
  const fine = sorted[below === -1 ? sorted.length - 1 : below]
  if (fine === undefined) throw new RangeError('There is no curve without points.')
  if (below === -1) return { kind: 'at most', us: fine.granularityUs }
  const coarse = sorted[below - 1]
  if (coarse === undefined) return { kind: 'more than', us: fine.granularityUs }
  const way = (coarse.efficiency - share) / (coarse.efficiency - fine.efficiency)
  const [from, to] = [Math.log(coarse.granularityUs), Math.log(fine.granularityUs)]
  return { kind: 'at', us: Math.exp(from + (to - from) * way) }
}

/** Task Bench's granularity: how much time of a thread a task takes with everything that belongs to it, in µs. */
export function granularityUs(seconds: number, threads: number, tasks: number): number {
  return (seconds * threads * 1e6) / tasks
}
