import { task } from 'millrace'
import { factors } from './factors.js'

/** In plain-Redis mode the input is the text that was pushed, and the text that is returned is the result. */
export const factor = task('factor', (text: string) => {
  if (!/^[1-9]\d{0,13}$/.test(text)) throw new RangeError(`${JSON.stringify(text)} is not a number below 10¹⁴`)
  return factors(BigInt(text)).join(' ')
})
