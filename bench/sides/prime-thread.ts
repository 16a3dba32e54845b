import { parentPort } from 'node:worker_threads'
import { PrimeSieve } from '../../dist/cli/demo/sieve.js'

/** Counts the primes below each number that it is sent. */
parentPort?.on('message', (below: number) => {
  parentPort?.postMessage(new PrimeSieve(below).count(0, below))
})
