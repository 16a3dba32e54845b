import type { Side } from './alternate.ts'
import { checkResults } from './check.ts'

/** A side that maps numbers to themselves, in tasks per second from the first submit to the last result in order. */
export function rateSide(
  name: string,
  how: string,
  inputs: readonly number[],
  owner: { close(): Promise<void> },
  map: (inputs: readonly number[]) => Promise<ArrayLike<unknown>>,
): Side {
  return {
    name,
    how,
    async round() {
      const started = performance.now()
      const results = await map(inputs)
      const seconds = (performance.now() - started) / 1000
      checkResults(name, results, inputs.length, index => inputs[index])
      return inputs.length / seconds
    },
    close: () => owner.close(),
  }
}

/** 0 … count − 1. */
export function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}
