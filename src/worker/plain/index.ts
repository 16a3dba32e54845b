import { hostname } from 'node:os'
import { UsageError } from '../../errors.ts'
import { bundleTasks } from '../../code/bundle.ts'
import { writeBundle } from '../../code/write-bundle.ts'
import { randomName } from '../../protocol/names.ts'
import { keySlot } from '../../protocol/placement.ts'
import { plainKeys } from '../../protocol/plain.ts'
import type { PlainNames } from '../../protocol/plain.ts'
import { sparingLog } from '../../runtime/log.ts'
import { redisTarget } from '../../store/target.ts'
import type { RedisInput } from '../../store/target.ts'
import { PlainWorker } from './plain-worker.ts'
import type { PlainWorkerSettings } from './plain-worker.ts'
import { PlainPool } from './pool.ts'

export interface PlainWorkerOptions extends PlainWorkerSettings {
  readonly tasks: string | URL
  readonly redis: RedisInput
}

export interface RunningPlainWorker {
  readonly id: string
  /** Stops taking elements, lets running ones finish, hands back the rest. Safe twice. */
  drain(): Promise<void>
}

/** What goes wrong again and again is said so often. */
const repeatMs = 30_000

/**
 * A worker for programs that know only LPUSH, HGET and PUBLISH: takes elements from a List, one per free thread, has
 * the task run on them, and writes the results into a Hash. Elements move atomically into a claim of this worker and
 * leave it with their result, so that a killed worker loses none.
 */
export async function startPlainWorker(options: PlainWorkerOptions): Promise<RunningPlainWorker> {
  if (options.threads < 1)
    throw new UsageError('A plain-Redis worker needs at least one thread: give --threads 1 or more.')
  const target = redisTarget(options.redis)
  if (target.kind === 'cluster') mustShareSlot(options)
  const bundle = await bundleTasks(options.tasks)
  const module = await writeBundle(bundle)
  const id = `${hostname()}-${process.pid}-${randomName(3)}`
  const pool = new PlainPool({
    threads: options.threads,
    entry: new URL('./thread.js', import.meta.url),
    data: { module: module.href, source: bundle.file, task: options.task, worker: id },
    log: options.log,
  })
  try {
    await pool.start()
  } catch (error) {
    await pool.stop()
    throw error
  }
  const worker = new PlainWorker(id, pool, target, { ...options, log: sparingLog(options.log, repeatMs) })
  await worker.start()
  return worker
}

/** A script has all of its keys on one node of a Cluster. */
function mustShareSlot(names: PlainNames): void {
  const { list, results, errors, lane } = plainKeys(names)
  if (new Set([list, results, errors, lane].map(keySlot)).size === 1) return
  throw new UsageError(
    `In a Redis Cluster the List ${JSON.stringify(list)} and the Hash ${JSON.stringify(results)} are in different slots, so that an element can't leave the one in the same step as its result enters the other. Give both a common tag in braces, such as {jobs}:queue and {jobs}:results.`,
  )
}
