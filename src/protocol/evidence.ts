/** Why a task was quarantined: the first line of its entry in the quarantine, before the chunk that would run it again. */
export interface Evidence {
  /** When, in ms since the epoch, by the clock of whoever set it aside: the oldest entries are pruned first. */
  readonly at: number
  /** The worker that it took down last. */
  readonly worker: string
  /** What is known of its deaths, in words. */
  readonly evidence: readonly string[]
}

/** One line: JSON escapes the line breaks inside. `at` comes first, where pruning looks for it. */
export function encodeEvidence({ at, worker, evidence }: Evidence): string {
  return JSON.stringify({ at, worker, evidence })
}
