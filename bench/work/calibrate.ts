import type { BareThreads } from '../sides/bare-threads.ts'
import { spinInput } from './spin.ts'

const steps = 10_000
const tasksPerThread = 2000

/** How many steps of the loop take a microsecond while every thread is at work. */
export async function stepsPerMicrosecond(bare: BareThreads, threads: number): Promise<number> {
  const share = Float64Array.from({ length: tasksPerThread }, (_, seed) => spinInput(steps, seed))
  const shares = Array.from({ length: threads }, () => share)
  await bare.run(shares)
  const { busySeconds } = await bare.run(shares)
  const mean = busySeconds.reduce((sum, seconds) => sum + seconds, 0) / threads
  return (steps * tasksPerThread) / (mean * 1e6)
}
