/** Tasks that are submitted and not yet handed to the user. */
const mostTasks = 262_144
/** Their inputs, and separately their results, in bytes. */
const mostBytes = 64 * 1024 * 1024
/** However large results are, so many tasks are kept under way, to keep a fleet busy. */
const fewestTasks = 64

/** What is outstanding of a windowed job. */
export interface Outstanding {
  /** Submitted and not yet handed to the user. */
  readonly tasks: number
  readonly inputBytes: number
  /** The mean size of a result so far; 0 while unknown. */
  readonly resultBytes: number
}

/** How many more tasks a windowed job may submit now. */
export function windowRoom({ tasks, inputBytes, resultBytes }: Outstanding): number {
  // One input may be larger than the whole window, and must get through alone.
  if (tasks > 0 && inputBytes >= mostBytes) return 0
  const byResults = resultBytes > 0 ? Math.max(fewestTasks, Math.floor(mostBytes / resultBytes)) : mostTasks
  return Math.max(0, Math.min(mostTasks, byResults) - tasks)
}
