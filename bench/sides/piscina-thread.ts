import { spin } from '../work/spin.ts'

export const noop = (input: number) => input
export const work = spin
