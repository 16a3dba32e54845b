import { parseHeader } from '../../protocol/chunk.ts'
import { partKeys } from '../../protocol/keys.ts'
import type { LaneStore } from '../lane-store.ts'
import { redisNowMs, timed, waitingThreads } from './census.ts'
import { inWords } from './info.ts'
import type { Refusal } from './refusal.ts'
import type { WorkerView } from './reports.ts'
import { readWorkers } from './workers.ts'

/**
 * What a job's part waits for right now, in words that can follow "waits: "; undefined while tasks of it are running or
 * when there is nothing left to wait for.
 */
export async function explainWait(
  lane: LaneStore,
  { job, refusal }: { readonly job: string; readonly refusal?: Refusal | undefined },
): Promise<string | undefined> {
  const { part, delayed } = partKeys(lane.lane, job)
  const keys = [
    { key: part, kind: 'part' },
    { key: delayed, kind: 'zset' },
  ] as const
  const read = () =>
    Promise.all([
      lane.client.hmget(part, 'state', 'task', 'hash', 'complete', 'submitted', 'waiting', 'settled'),
      lane.client.zrange(delayed, 0, '0', 'WITHSCORES'),
      lane.client.zcard(delayed),
    ])
  const [[[state, task, hash, complete, submitted, waiting, settled], retries, delayedChunks], nowMs, workers] =
    await Promise.all([lane.read(keys, read), redisNowMs(lane), readWorkers(lane)])
  return waitInWords({
    state: state ?? 'gone',
    task: task ?? '',
    hash: hash ?? '',
    complete: complete === '1',
    submitted: Number(submitted ?? 0),
    waiting: Math.max(0, Number(waiting ?? 0)),
    settled: Number(settled ?? 0),
    delayed: delayedChunks,
    retryInMs: timed(retries).map(({ atMs }) => atMs - nowMs)[0],
    workers,
    staged: hash == null ? 0 : await stagedTasks(lane, hash, job),
    idleThreads: hash == null ? 0 : await waitingThreads(lane, hash),
    refusal,
  })
}

/** How many tasks of the job stand on the stage of its code. */
export async function stagedTasks(lane: LaneStore, hash: string, job: string): Promise<number> {
  const headers = (await lane.claims.peekStage(hash)).map(parseHeader)
  return headers.reduce((sum, header) => (header?.job === job ? sum + header.count : sum), 0)
}

export interface WaitFacts {
  /** Of the part's record; 'gone' when there is none. */
  readonly state: string
  readonly task: string
  readonly hash: string
  readonly complete: boolean
  readonly submitted: number
  readonly waiting: number
  readonly settled: number
  /** Handed to a thread that waited for work, and not taken by any: the thread that it was for may have found other work. */
  readonly staged?: number | undefined
  readonly delayed: number
  /** Until the next retry is due. */
  readonly retryInMs: number | undefined
  readonly workers: readonly Pick<WorkerView, 'hash' | 'tasks' | 'threads'>[]
  /** Threads with this code that wait for work. */
  readonly idleThreads: number
  /** Why Redis refuses writes at the moment; undefined when it does not, or it was not asked. */
  readonly refusal?: Refusal | undefined
}

export function waitInWords(facts: WaitFacts): string | undefined {
  const { state, complete, submitted, waiting, settled, staged = 0, delayed } = facts
  const { retryInMs, workers, hash, idleThreads } = facts
  if (state === 'gone') return 'nothing: Redis does not know the job; it was collected, was dropped or has expired'
  if (state === 'cancelled') return 'nothing: it was cancelled'
  if (state === 'parked') return 'its driver is gone; attach to go on'
  if (settled >= submitted && complete) return undefined
  if (facts.refusal?.isTotal === true) return facts.refusal.words
  if (settled >= submitted) return facts.refusal?.words ?? 'its driver to submit more inputs'
  const fit = workers.filter(worker => worker.hash === hash)
  if (fit.length === 0) return noWorkerInWords(facts)
  if (submitted - waiting - staged - delayed - settled > 0) return undefined
  if (waiting + staged > 0) {
    const threads = fit.reduce((sum, worker) => sum + worker.threads, 0)
    return idleThreads > 0
      ? 'a thread to take it, which is about to'
      : `all ${threads} threads that run this code are busy`
  }
  return `retry in ${inWords(Math.max(0, retryInMs ?? 0))}`
}

function noWorkerInWords({ task, hash, workers }: WaitFacts): string {
  if (workers.length === 0) return 'no worker is running; start one with `millrace worker`'
  const short = (code: string) => code.slice(0, 8)
  const others = [...new Set(workers.filter(({ tasks }) => tasks.includes(task)).map(worker => short(worker.hash)))]
  const mismatch =
    others.length === 0
      ? `none of the ${workers.length} workers has a task ${JSON.stringify(task)}`
      : `${JSON.stringify(task)} exists on workers, but in other code (${others.join(', ')}); restart them with the driver's version of the task module`
  return `no worker knows this task: 0 workers run code ${short(hash)}; ${mismatch}`
}
