import { checkResults } from '../core/check.ts'
import { evenShares } from '../sides/bare-threads.ts'
import type { BareRun, BareThreads } from '../sides/bare-threads.ts'
import { spinInput } from '../work/spin.ts'

/** A side that runs tasks of a given size. */
export interface SpinSide {
  readonly name: string
  readonly how: string
  /** Tasks beyond this many make a measurement longer and no better. */
  readonly mostTasks: number
  /** The sizes that say something about this side. */
  readonly sizesUs: readonly number[]
  map(inputs: readonly number[]): Promise<ArrayLike<unknown>>
  close(): Promise<void>
}

/** The same tasks done both ways. */
export interface Pair {
  /** The mean of the bare threads' time right before and right after. */
  readonly bareSeconds: number
  readonly seconds: number
}

/** Inputs of one size, each with a seed of its own. */
export function spinInputs(workUs: number, stepsPerUs: number, count: number): Float64Array {
  const steps = Math.max(1, Math.round(workUs * stepsPerUs))
  return Float64Array.from({ length: count }, (_, seed) => spinInput(steps, seed))
}

/**
 * The side between two runs of the bare threads, so that a machine that gets slower or faster meanwhile does so for
 * both. What the bare threads computed is what the side's results are held against.
 */
export async function measurePair(
  side: Pick<SpinSide, 'name' | 'map'>,
  bare: BareThreads,
  inputs: Float64Array,
  threads: number,
): Promise<Pair> {
  const list = [...inputs]
  const shares = evenShares(inputs, threads)
  const before = await bare.run(shares)
  const started = performance.now()
  const results = await side.map(list)
  const seconds = (performance.now() - started) / 1000
  const after = await bare.run(shares)
  const expected = joined(before)
  checkResults<unknown>(side.name, results, inputs.length, index => expected[index])
  return { bareSeconds: (before.seconds + after.seconds) / 2, seconds }
}

function joined({ results }: BareRun): Int32Array {
  const all = new Int32Array(results.reduce((sum, each) => sum + each.length, 0))
  let at = 0
  for (const each of results) {
    all.set(each, at)
    at += each.length
  }
  return all
}
