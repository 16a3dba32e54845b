import { checkResults } from '../core/check.ts'
import type { BareRun } from '../sides/bare-threads.ts'
import { evenShares } from '../sides/bare-threads.ts'
import type { BareThreads } from '../sides/bare-threads.ts'
import { spinInput } from '../work/spin.ts'

/** A side that runs tasks of a given size. */
export interface SpinSide {
  readonly name: string
  /** Tasks beyond this many make a measurement longer and no better. */
  readonly mostTasks: number
  /** The sizes that say something about this side. */
  readonly sizesUs: readonly number[]
  map(inputs: readonly number[]): Promise<ArrayLike<unknown>>
  close(): Promise<void>
}

/** Inputs of one size, each with a seed of its own. */
export function spinInputs(workUs: number, stepsPerUs: number, count: number): Float64Array {
  const steps = Math.max(1, Math.round(workUs * stepsPerUs))
  return Float64Array.from({ length: count }, (_, seed) => spinInput(steps, seed))
}

/** The bare threads' seconds and the side's, one right after the other; the bare threads' results are the recomputation. */
export async function measurePair(
  side: Pick<SpinSide, 'name' | 'map'>,
  bare: BareThreads,
  inputs: Float64Array,
  threads: number,
): Promise<{ readonly bareSeconds: number; readonly seconds: number }> {
  const list = [...inputs]
  const reference = await bare.run(evenShares(inputs, threads))
  const started = performance.now()
  const results = await side.map(list)
  const seconds = (performance.now() - started) / 1000
  const expected = joined(reference)
  checkResults<unknown>(side.name, results, inputs.length, index => expected[index])
  return { bareSeconds: reference.seconds, seconds }
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
