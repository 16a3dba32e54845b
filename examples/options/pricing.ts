import { philox } from './philox.js'

/** A European call option on a share that pays no dividend, in the model of Black and Scholes. */
export interface Call {
  readonly price: number
  readonly strike: number
  /** A year, as a fraction: 0.03 is 3 %. */
  readonly rate: number
  readonly volatility: number
  readonly years: number
}

/** What a simulation has found so far; moments of the discounted payoff. */
export interface Sample {
  readonly paths: number
  readonly sum: number
  readonly sumOfSquares: number
}

const pathsPerCounter = 4

/** Simulates the paths `from` to `to` (multiples of four) and adds up their discounted payoffs. */
export function simulate(call: Call, seed: number, from: number, to: number): Sample {
  const { price, strike, rate, volatility, years } = call
  const drift = (rate - volatility ** 2 / 2) * years
  const spread = volatility * Math.sqrt(years)
  const discount = Math.exp(-rate * years)
  const counter = new Uint32Array(4)
  const random = new Uint32Array(4)
  const normals = new Float64Array(4)
  let sum = 0
  let sumOfSquares = 0
  for (let path = from; path < to; path += pathsPerCounter) {
    counter[0] = path
    counter[1] = path / 2 ** 32
    philox(counter, [seed, 0], random)
    boxMuller(random, normals)
    for (const normal of normals) {
      const payoff = discount * Math.max(0, price * Math.exp(drift + spread * normal) - strike)
      sum += payoff
      sumOfSquares += payoff * payoff
    }
  }
  return { paths: to - from, sum, sumOfSquares }
}

/** The mean of a sample and the standard error of that mean. */
export function estimate({ paths, sum, sumOfSquares }: Sample): {
  readonly mean: number
  readonly standardError: number
} {
  const mean = sum / paths
  const variance = (sumOfSquares - sum * mean) / (paths - 1)
  return { mean, standardError: Math.sqrt(variance / paths) }
}

/** The price in closed form (Black and Scholes, 1973). */
export function blackScholes({ price, strike, rate, volatility, years }: Call): number {
  const spread = volatility * Math.sqrt(years)
  const d1 = (Math.log(price / strike) + (rate + volatility ** 2 / 2) * years) / spread
  return price * normalDistribution(d1) - strike * Math.exp(-rate * years) * normalDistribution(d1 - spread)
}

/** The cumulative normal distribution, by Marsaglia's series ("Evaluating the normal distribution", 2004). */
export function normalDistribution(x: number): number {
  if (x > 8) return 1
  if (x < -8) return 0
  let sum = x
  let term = x
  for (let divisor = 3; sum + term !== sum; divisor += 2) {
    term *= (x * x) / divisor
    sum += term
  }
  return 0.5 + (sum * Math.exp(-(x * x) / 2)) / Math.sqrt(2 * Math.PI)
}

/** Four normally distributed numbers from four uniform ones (Box and Muller, 1958). */
function boxMuller(random: Uint32Array, normals: Float64Array): void {
  for (let at = 0; at < 4; at += 2) {
    const radius = Math.sqrt(-2 * Math.log(((random[at] ?? 0) + 0.5) / 2 ** 32))
    const angle = (2 * Math.PI * ((random[at + 1] ?? 0) + 0.5)) / 2 ** 32
    normals[at] = radius * Math.cos(angle)
    normals[at + 1] = radius * Math.sin(angle)
  }
}
