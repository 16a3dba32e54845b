import { decodeProcessEnd } from '../protocol/evidence.ts'
import type { ProcessEnd } from '../protocol/evidence.ts'
import { decodeWorkerInfo, decodeWorkerStats } from '../protocol/records.ts'
import type { WorkerStats } from '../protocol/records.ts'
import type { WorkerRecord } from '../store/inspect/census.ts'

/** What is left of a dead worker to tell. */
export interface DeadWorker {
  /** `host:pid`; its id where its record does not say. */
  readonly label: string
  /** What it said with its last heartbeat. */
  readonly stats: WorkerStats
  /** How its process ended; undefined where nobody saw it. */
  readonly end: ProcessEnd | undefined
}

export function deadWorker(id: string, { info, stats, end }: WorkerRecord): DeadWorker {
  return {
    label: labelOf(info ?? '') ?? id,
    stats: decodeWorkerStats(stats ?? ''),
    end: end === null ? undefined : decodeProcessEnd(end),
  }
}

function labelOf(info: string): string | undefined {
  try {
    const { host, pid } = decodeWorkerInfo(info)
    return host === '' ? undefined : `${host}:${pid}`
  } catch {
    return undefined
  }
}

/** Why a task that was alone in its process each time is set aside, in words; `facts` are those of the task. */
export function deathEvidence(
  { label, stats, end }: DeadWorker,
  { maxDeaths, leaseMs }: { readonly maxDeaths: number; readonly leaseMs: number },
  facts: readonly string[],
): string[] {
  const how = end?.how ?? `vanished: it was not heard of for ${leaseMs} ms, and nobody saw its exit code or signal`
  const { rssBytes } = stats
  // Whoever saw the end has the very last lines; the worker itself could only pass on those before its last heartbeat.
  const lines = end === undefined || end.lines.length === 0 ? stats.lines : end.lines
  return [
    `its process died ${maxDeaths} times while this task was all that its thread ran`,
    `the last was ${label}, which ${how}`,
    ...facts,
    ...(rssBytes > 0
      ? [`at its last heartbeat the process had ${Math.round(rssBytes / 1024 / 1024)} MB of memory`]
      : []),
    ...lines.map(line => `log: ${line}`),
  ]
}
