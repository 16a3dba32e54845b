/** What was computed is wrong: the only thing that makes a benchmark fail. */
export class WrongResultError extends Error {
  override readonly name = 'WrongResultError'
}

/** Every result must be what the recomputation gives, in the order of the inputs. */
export function checkResults<T>(
  who: string,
  results: ArrayLike<T>,
  count: number,
  expected: (index: number) => T,
): void {
  if (results.length !== count) throw new WrongResultError(`${who} gave ${results.length} results for ${count} tasks.`)
  for (let index = 0; index < count; index++) {
    const wanted = expected(index)
    if (results[index] !== wanted)
      throw new WrongResultError(`${who}: result ${index} is ${String(results[index])}, not ${String(wanted)}.`)
  }
}

export function checkValue(who: string, value: unknown, expected: unknown): void {
  if (value !== expected) throw new WrongResultError(`${who} gave ${String(value)}, not ${String(expected)}.`)
}
