import { measured } from './report.ts'
import type { Measured } from './report.ts'

/** One of several ways to do the same work. */
export interface Side {
  readonly name: string
  readonly how: string
  /** Does the work once, checks what came of it, and says how fast it was. */
  round(): Promise<number>
  close(): Promise<void>
}

/**
 * Measures the sides in turns, so that what else happens on the machine hits all of them alike, and every other time in
 * the opposite order, so that none always follows the same one. A first turn, which compiles and connects, is not counted.
 */
export async function alternate(sides: readonly Side[], rounds: number): Promise<Measured[]> {
  const samples = sides.map((): number[] => [])
  for (let round = 0; round <= rounds; round++) {
    const order = [...sides.keys()]
    if (round % 2 === 1) order.reverse()
    for (const at of order) {
      const value = await sides[at]!.round()
      if (round > 0) samples[at]!.push(value)
    }
  }
  return sides.map(({ name, how }, at) => measured(name, how, samples[at]!))
}

/** Opens sides one after the other, and closes all that were opened, whatever happens. */
export async function withSides<T>(
  openers: readonly (() => Promise<Side>)[],
  use: (sides: readonly Side[]) => Promise<T>,
): Promise<T> {
  const sides: Side[] = []
  try {
    for (const open of openers) sides.push(await open())
    return await use(sides)
  } finally {
    for (const side of sides) await side.close()
  }
}
