import { connect, range } from 'millrace'
import { add, square } from './tasks.js'

await using mill = await connect({ tasks: new URL('./tasks.ts', import.meta.url) })
const sum = await mill.map(square, range(100_000)).reduce(add, 0)
console.log(`The squares of the numbers below 100,000 add up to ${sum}.`)
