import { parseArgs } from 'node:util'
import { connect, range } from 'millrace'
import { blackScholes, estimate, type Sample } from './pricing.js'
import { paths } from './tasks.js'

const { values } = parseArgs({
  options: { millions: { type: 'string', default: '20' }, seed: { type: 'string', default: '1' } },
})
const call = { price: 100, strike: 105, rate: 0.03, volatility: 0.2, years: 1 }
const pathsPerTask = 100_000
const count = Number(values.millions) * 1e6

await using mill = await connect({ tasks: new URL('./tasks.ts', import.meta.url) })
const shared = { call, seed: Number(values.seed), pathsPerTask }
const none: Sample = { paths: 0, sum: 0, sumOfSquares: 0 }

// Sums of floating-point numbers depend on their order in the last digits. A plain function is applied strictly from
// left to right, so that every run prints the same digits, however many threads there are.
const sample = await mill.map(paths, range(0, count, pathsPerTask), { shared }).reduce(
  (sum: Sample, part: Sample) => ({
    paths: sum.paths + part.paths,
    sum: sum.sum + part.sum,
    sumOfSquares: sum.sumOfSquares + part.sumOfSquares,
  }),
  none,
)

const { mean, standardError } = estimate(sample)
const exact = blackScholes(call)
const errors = Math.abs(mean - exact) / standardError
console.log(
  `simulated     ${mean.toFixed(6)} ± ${standardError.toFixed(6)}  (${sample.paths.toLocaleString('en')} paths)`,
)
console.log(`closed form   ${exact.toFixed(6)}`)
console.log(`difference    ${(mean - exact).toFixed(6)}, ${errors.toFixed(2)} standard errors`)
if (!(errors <= 4)) {
  console.error('The simulation is off by more than four standard errors: chance would do that once in 16,000 runs.')
  process.exitCode = 1
}
