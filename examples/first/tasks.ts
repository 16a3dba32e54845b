import { reducer, task } from 'millrace'

export const square = task('square', (x: number) => x * x)
export const add = reducer('add', (a: number, b: number) => a + b)
