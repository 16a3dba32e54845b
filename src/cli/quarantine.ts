import { decodeQuarantined } from '../protocol/evidence.ts'
import type { QuarantinedTask } from '../protocol/evidence.ts'
import { JobNotFoundError, RetryRefusedError } from '../errors.ts'
import type { LaneStore } from '../store/lane-store.ts'
import type { Lanes } from '../store/lanes.ts'

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
    const [next, flat] = await client.hscanBuffer(keys.quarantine, cursor, 'MATCH', match, 'COUNT', page)
    cursor = String(next)
    for (let at = 0; at + 1 < flat.length; at += 2)
      tasks.push(decodeQuarantined(String(flat[at]), flat[at + 1] ?? Buffer.alloc(0)))
  } while (cursor !== '0' && tasks.length < most)
  return tasks.filter(task => job === undefined || task.job === job).sort((a, b) => b.at - a.at)
}

/**
 * Puts a quarantined task back in line.
 *
 * @throws {RetryRefusedError} when it is not in quarantine, or somebody may have its failure already.
 * @throws {JobNotFoundError} when its job is gone.
 */
export async function retryQuarantined(lanes: Lanes, job: string, index: number): Promise<void> {
  const store = await lanes.find(job)
  const name = `task ${job}/${index}`
  const part = await store.parts.readPart(job)
  if (part === undefined || part.state === 'cancelled') throw jobGone(job)
  if ((await lanes.withServers(servers => store.parts.listeners(servers, part.collector))) > 0) {
    throw new RetryRefusedError(
      `The ${name} can't be retried: its driver is alive and has been told that it failed, and nobody may see two outcomes of one task. Submit its input again, or retry it once that driver has gone and before another attaches.`,
    )
  }
  const outcome = await store.upkeep.retryQuarantined({ ...part, job }, index)
  if (outcome === 'gone') throw jobGone(job)
  if (outcome === 'unknown') {
    throw new RetryRefusedError(
      `The ${name} is not in quarantine: it was retried already, never was there, or made room for newer ones. See what is with millrace jobs ${job}.`,
    )
  }
  if (outcome === 'collected') {
    throw new RetryRefusedError(
      `The ${name} can't be retried: a driver has collected its failure, or attached to the job just now, and nobody may see two outcomes of one task. Submit its input again.`,
    )
  }
}

function jobGone(job: string): JobNotFoundError {
  return new JobNotFoundError(
    `The job ${job} is gone, so that nobody would collect the task's result: it was collected, cancelled, begun anew or has expired. Submit the task again.`,
  )
}
