import type { LaneStore } from '../store/lane-store.ts'

/** A task that was set aside because it took its thread or process down again and again. */
export interface QuarantinedTask {
  readonly job: string
  readonly index: number
  readonly atMs: number
  /** The worker that it took down last. */
  readonly worker: string
  readonly evidence: readonly string[]
}

const page = 100

/** Quarantined tasks, of one job or of all, the newest first. At most about `most` are read. */
export async function readQuarantine(
  { client, keys }: LaneStore,
  most: number,
  job?: string,
): Promise<QuarantinedTask[]> {
  const tasks: QuarantinedTask[] = []
  let cursor = '0'
  do {
    const match = job === undefined ? '*' : `${job}:*`
    const [next, flat] = await client.hscan(keys.quarantine, cursor, 'MATCH', match, 'COUNT', page)
    cursor = next
    for (let at = 0; at + 1 < flat.length; at += 2) tasks.push(decodeQuarantined(flat[at] ?? '', flat[at + 1] ?? ''))
  } while (cursor !== '0' && tasks.length < most)
  return tasks.filter(task => job === undefined || task.job === job).sort((a, b) => b.atMs - a.atMs)
}

/** An entry as it stands in the Hash: `<job>:<index>`, and a line of JSON before the chunk. What is damaged is left empty. */
export function decodeQuarantined(name: string, entry: string): QuarantinedTask {
  const colon = name.lastIndexOf(':')
  const facts = parseFacts(entry.split('\n', 1)[0] ?? '')
  const { at, worker, evidence } = facts
  return {
    job: name.slice(0, colon),
    index: Number(name.slice(colon + 1)),
    atMs: typeof at === 'number' ? at : 0,
    worker: typeof worker === 'string' ? worker : '',
    evidence: Array.isArray(evidence) ? evidence.filter(line => typeof line === 'string') : [],
  }
}

function parseFacts(json: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(json)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}
