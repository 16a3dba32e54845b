import { partKeys } from '../../protocol/keys.ts'
import type { LaneStore } from '../lane-store.ts'
import { timed } from './census.ts'
import type { JobView } from './reports.ts'

export interface PageOptions {
  /** How many of the newest to pass over. @default 0 */
  readonly offset?: number
  /** @default 100 */
  readonly limit?: number
}

/** The jobs of a lane, newest first. */
export async function readJobs(lane: LaneStore, { offset = 0, limit = 100 }: PageOptions = {}): Promise<JobView[]> {
  const page = await lane.client.zrange(lane.keys.jobs, offset, String(offset + limit - 1), 'REV', 'WITHSCORES')
  const views = await Promise.all(timed(page).map(({ name, atMs }) => readJob(lane, name, atMs)))
  return views.filter(view => view !== undefined)
}

const fields = [
  'task',
  'hash',
  'state',
  'detached',
  'priority',
  'kind',
  'total',
  'complete',
  'submitted',
  'waiting',
  'settled',
  'failed',
  'released',
] as const

async function readJob(lane: LaneStore, id: string, createdAtMs: number): Promise<JobView | undefined> {
  const { part, delayed: delayedKey } = partKeys(lane.lane, id)
  const [values, delayed, ttlMs] = await Promise.all([
    lane.client.hmget(part, ...fields),
    lane.client.zcard(delayedKey),
    lane.client.pttl(part),
  ])
  const record = new Map(fields.map((field, index) => [field, values[index] ?? '']))
  const text = (field: (typeof fields)[number]) => record.get(field) ?? ''
  const count = (field: (typeof fields)[number]) => Number(text(field)) || 0
  if (text('task') === '') return undefined
  const submitted = count('submitted')
  const settled = count('settled')
  const failed = count('failed')
  const waiting = Math.max(0, count('waiting'))
  const state = text('state')
  return {
    id,
    task: text('task'),
    hash: text('hash'),
    state: state === 'parked' || state === 'cancelled' ? state : 'open',
    detached: text('detached') === '1',
    priority: count('priority'),
    createdAtMs,
    total: totalOf(text('complete') === '1', submitted, count('total'), text('kind')),
    submitted,
    waiting,
    // Every task is in one place: what is not waiting, delayed or settled is on the stage or with a thread.
    running: Math.max(0, submitted - waiting - delayed - settled),
    delayed,
    done: Math.max(0, settled - failed),
    failed,
    released: count('released'),
    expiresInMs: ttlMs < 0 ? undefined : ttlMs,
  }
}

function totalOf(complete: boolean, submitted: number, total: number, kind: string): number | undefined {
  if (complete) return submitted
  return kind === 'range' && total >= 0 ? total : undefined
}
