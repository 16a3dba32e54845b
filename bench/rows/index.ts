import type { Row } from './row.ts'

/** The rows in the order of the table; each is loaded when it is run. */
export const rows = {
  'noop-map': () => import('./noop-map.ts'),
  'submit-burst': () => import('./submit-burst.ts'),
  'fan-in': () => import('./fan-in.ts'),
  latency: () => import('./latency.ts'),
  metg: () => import('./metg.ts'),
  efficiency: () => import('./efficiency.ts'),
  'mixed-grain': () => import('./mixed-grain.ts'),
  memory: () => import('./memory.ts'),
  stream: () => import('./stream.ts'),
  payload: () => import('./payload.ts'),
  'idle-fleet': () => import('./idle-fleet.ts'),
  scaling: () => import('./scaling.ts'),
  lanes: () => import('./lanes.ts'),
  primes: () => import('./primes.ts'),
} as const satisfies Readonly<Record<string, () => Promise<{ readonly row: Row }>>>

export type RowName = keyof typeof rows

export function isRowName(name: string): name is RowName {
  return Object.hasOwn(rows, name)
}
