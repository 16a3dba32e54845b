import type { CurvePoint } from './report.ts'

/**
 * METG: the smallest granularity at which the efficiency is still `share`, as Task Bench has it (Slaughter et al.,
 * "Task Bench: A Parameterized Benchmark for Evaluating Parallel Runtime Performance", SC'20), interpolated on a log
 * axis between the points on either side. Undefined when the curve never comes down to the share, or never gets there.
 */
export function metg(points: readonly CurvePoint[], share = 0.5): number | undefined {
  const sorted = [...points].sort((a, b) => b.granularityUs - a.granularityUs)
  for (const [at, coarse] of sorted.entries()) {
    const fine = sorted[at + 1]
    if (fine === undefined || coarse.efficiency < share) return undefined
    if (fine.efficiency >= share) continue
    const way = (coarse.efficiency - share) / (coarse.efficiency - fine.efficiency)
    const [from, to] = [Math.log(coarse.granularityUs), Math.log(fine.granularityUs)]
    return Math.exp(from + (to - from) * way)
  }
  return undefined
}

/** Task Bench's granularity: how much time of a thread a task takes with everything that belongs to it, in µs. */
export function granularityUs(seconds: number, threads: number, tasks: number): number {
  return (seconds * threads * 1e6) / tasks
}
