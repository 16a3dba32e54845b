/**
 * The delay before attempt `attempt` (1 for the first repetition): exponential from `firstMs` up to `mostMs`, with
 * jitter over its upper half, so that a thousand clients that failed together don't come back together.
 */
export function jitteredBackoffMs(
  attempt: number,
  { firstMs, mostMs }: { readonly firstMs: number; readonly mostMs: number },
  random: () => number = Math.random,
): number {
  const full = Math.min(mostMs, firstMs * 2 ** Math.min(attempt - 1, 30))
  return Math.round(full * (0.5 + random() / 2))
}
