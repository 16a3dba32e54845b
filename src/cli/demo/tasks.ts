import { reducer, task } from '../../code/task.ts'
import { countFiles } from './count-files.ts'
import { PrimeSieve } from './sieve.ts'
import { mergeCounts } from './words.ts'

/** What every task of the prime count shares. */
export interface PrimeCount {
  /** Primes below this are counted. */
  readonly below: number
  /** How many numbers one task takes. */
  readonly span: number
}

// One sieve per thread and job: finding the primes up to the root of the bound once is enough.
const sieves = new WeakMap<PrimeCount, PrimeSieve>()

/** How many primes there are from `from` on, over the span of one task. */
export const primes = task<number, number, PrimeCount>('demo-primes', (from, { shared }) => {
  let sieve = sieves.get(shared)
  if (sieve === undefined) {
    sieve = new PrimeSieve(shared.below)
    sieves.set(shared, sieve)
  }
  return sieve.count(from, Math.min(from + shared.span, shared.below))
})

/** The sum of two numbers. */
export const add = reducer('demo-add', (a: number, b: number) => a + b)

/** The words of a group of files. They are read where the task runs: a worker elsewhere needs the same folder. */
export const words = task('demo-words', (paths: readonly string[]) => countFiles(paths))

/** The sum of two word counts. */
export const merge = reducer('demo-merge', mergeCounts)
