/**
 * No schedule can be shorter: the work shared out evenly, or the longest task alone (Graham, "Bounds on multiprocessing
 * timing anomalies", 1969). The unit is that of the durations.
 */
export function lowerBound(durations: readonly number[], threads: number): number {
  let sum = 0
  let longest = 0
  for (const duration of durations) {
    sum += duration
    longest = Math.max(longest, duration)
  }
  return Math.max(sum / threads, longest)
}

/** Shares tasks out, the longest first and each to whom has least: within a third of the best. Gives the indexes of each share. */
export function longestFirst(durations: readonly number[], threads: number): number[][] {
  const shares = Array.from({ length: threads }, (): { load: number; tasks: number[] } => ({ load: 0, tasks: [] }))
  const order = [...durations.keys()].sort((a, b) => durations[b]! - durations[a]!)
  for (const index of order) {
    const share = shares.reduce((least, each) => (each.load < least.load ? each : least))
    share.load += durations[index]!
    share.tasks.push(index)
  }
  return shares.map(({ tasks }) => tasks)
}
