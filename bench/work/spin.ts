/**
 * The work of the tasks whose size matters: a chain of multiplications that nothing can shorten. An input holds how long
 * the chain is and where it begins, so that each task has a result of its own and no table is needed to say its size.
 */

/** Seeds are below this, so that a seed and a number of steps share a whole number without loss. */
export const seeds = 2 ** 20

export function spinInput(steps: number, seed: number): number {
  return steps * seeds + (seed % seeds)
}

export function spin(input: number): number {
  // Whole numbers from here on: whether the compiler finds that out by itself must not decide how fast a side is.
  const steps = Math.floor(input / seeds) | 0
  let value = (input - steps * seeds) | 0
  for (let step = 0; step < steps; step++) value = (Math.imul(value, 1_664_525) + 1_013_904_223) | 0
  return value
}
