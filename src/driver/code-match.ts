import { CodeMismatchError, UnknownTaskError } from '../errors.ts'
import type { WorkerView } from './types.ts'

/** Which code a job is for, or why that can't be said yet. */
export type CodeMatch = { readonly hash: string } | { readonly waitFor: string }

/**
 * Decides for which code hash a task is submitted: the driver's own, or the only one that live workers announce the
 * name with.
 *
 * @throws {CodeMismatchError} when workers know the task only from other code, or from several.
 * @throws {UnknownTaskError} when all workers with the driver's code do not know it.
 */
export function matchCode(task: string, ownHash: string | undefined, workers: readonly WorkerView[]): CodeMatch {
  const hashes = [...new Set(workers.filter(worker => worker.tasks.includes(task)).map(worker => worker.hash))].sort()
  if (ownHash !== undefined) return matchOwn(task, ownHash, hashes, workers)
  const [hash] = hashes
  if (hash === undefined) return { waitFor: `a worker that knows the task ${JSON.stringify(task)}` }
  if (hashes.length === 1) return { hash }
  throw new CodeMismatchError(
    `The workers have different code for the task ${JSON.stringify(task)} (${hashes.join(', ')}), so that this driver can't tell which to use. Give connect() the task module, or stop the old workers.`,
    { task, driverHash: '', workerHashes: hashes },
  )
}

function matchOwn(task: string, ownHash: string, hashes: readonly string[], workers: readonly WorkerView[]): CodeMatch {
  const alike = workers.filter(worker => worker.hash === ownHash)
  if (alike.length > 0 && !hashes.includes(ownHash)) {
    throw new UnknownTaskError(
      `The task ${JSON.stringify(task)} is not exported by the task module that this driver and its workers have. Export it there.`,
    )
  }
  if (alike.length === 0 && hashes.length > 0) {
    throw new CodeMismatchError(
      `The task ${JSON.stringify(task)} of this driver has other code (${ownHash}) than the workers' (${hashes.join(', ')}). Start the workers again with the same task module.`,
      { task, driverHash: ownHash, workerHashes: hashes },
    )
  }
  // Nobody has this code yet: the job waits for whoever comes.
  return { hash: ownHash }
}
