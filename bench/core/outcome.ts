import type { RowReport } from './report.ts'

/** What a row's process says: its report, or why there is none (a wrong result, a side that could not be run). */
export type RowOutcome =
  { readonly name: string; readonly report: RowReport } | { readonly name: string; readonly error: string }
