/** What is said of several measurements of one thing. */
export interface Summary {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** @throws {RangeError} for no samples: a median of nothing would look like a measurement. */
export function summarize(samples: readonly number[]): Summary {
  if (samples.length === 0) throw new RangeError('There is nothing to summarize.')
  return { median: quantile(samples, 0.5), min: Math.min(...samples), max: Math.max(...samples) }
}

/** The value that a share of the samples does not exceed, interpolated between neighbours. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = Float64Array.from(samples).sort()
  const at = (sorted.length - 1) * share
  const low = sorted[Math.floor(at)] ?? NaN
  const high = sorted[Math.ceil(at)] ?? NaN
  return low + (high - low) * (at - Math.floor(at))
}
