import { PrimeSieve } from '../../dist/cli/demo/sieve.js'
import { reducer, task } from '../core/millrace.ts'
import { spin } from './spin.ts'

/** Nothing but the way there and back. */
export const noop = task('noop', (input: number) => input)

/** As much work as its input says. */
export const work = task('work', spin)

/** Bytes in, the same bytes out. */
export const echo = task('echo', (bytes: Uint8Array) => bytes)

export const add = reducer('add', (a: number, b: number) => a + b)

/** What the tasks of a prime count share. */
export interface PrimeCount {
  readonly below: number
  readonly span: number
}

const sieves = new WeakMap<PrimeCount, PrimeSieve>()

/** How many primes there are from the input on, over one span. */
export const primes = task<number, number, PrimeCount>('primes', (from, { shared }) => {
  let sieve = sieves.get(shared)
  if (sieve === undefined) {
    sieve = new PrimeSieve(shared.below)
    sieves.set(shared, sieve)
  }
  return sieve.count(from, Math.min(from + shared.span, shared.below))
})
