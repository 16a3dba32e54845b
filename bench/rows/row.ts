import type { RowReport } from '../core/report.ts'

export interface RowContext {
  /** How often each side is measured. */
  readonly rounds: number
  /** Smaller, for a look: not the numbers to publish. */
  readonly quick: boolean
}

/** One line of the table: an idea, and how it is measured. */
export interface Row {
  run(context: RowContext): Promise<RowReport>
}

/** Both cores of the machine that the bars were set for. */
export const threads = 2
