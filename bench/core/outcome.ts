import type { Machine } from './machine.ts'
import type { RowReport } from './report.ts'

/** What a row's process says: its report, or why there is none (a wrong result, a side that could not be run). */
export type RowOutcome =
  | { readonly name: string; readonly report: RowReport }
  | {
      readonly name: string
      readonly error: string
      /** What was computed is wrong, which is worse than a side that could not be run. */
      readonly wrong: boolean
    }

/** What `--json` prints, and what the report is written from. */
export interface BenchRun {
  readonly machine: Machine
  readonly command: string
  readonly quick: boolean
  readonly rounds: number
  readonly seconds: number
  readonly outcomes: readonly (RowOutcome & { readonly seconds: number })[]
}

/** The only thing that makes a run of the benchmark fail. */
export function hasWrongResult(outcomes: readonly RowOutcome[]): boolean {
  return outcomes.some(outcome => 'error' in outcome && outcome.wrong)
}
