/** The prime factors of a whole number from 2 on, smallest first. */
export function factors(value: bigint): bigint[] {
  const found: bigint[] = []
  let rest = value
  for (let divisor = 2n; divisor * divisor <= rest; divisor += divisor === 2n ? 1n : 2n) {
    while (rest % divisor === 0n) {
      found.push(divisor)
      rest /= divisor
    }
  }
  if (rest > 1n) found.push(rest)
  return found
}
