/** π(10^k) for k = 0, 1, 2 …: OEIS A006880. */
const PRIMES_BELOW_POWERS_OF_TEN = [
  0, 4, 25, 168, 1_229, 9_592, 78_498, 664_579, 5_761_455, 50_847_534, 455_052_511,
] as const

/** How many primes there are below a power of ten, where mathematicians have published it; else undefined. */
export function knownPrimesBelow(below: number): number | undefined {
  const exponent = Math.round(Math.log10(below))
  return 10 ** exponent === below ? PRIMES_BELOW_POWERS_OF_TEN[exponent] : undefined
}
