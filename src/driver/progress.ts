import type { PartCounters } from '../protocol/records.ts'
import type { DrivenJob } from './driven-job.ts'
import type { Link } from './link.ts'
import type { Opening } from './opening.ts'
import type { Progress, WorkerView } from './types.ts'

/** How far a job is, from its record, and what it waits for. */
export async function readProgress({
  opening,
  link,
}: {
  readonly opening: Opening
  readonly link: Link
}): Promise<Progress> {
  const { job } = opening
  if (job === undefined) return { ...nothing, waitingFor: opening.waitingFor ?? 'its driver to begin' }
  const stand = job.over ? undefined : await link.ask(() => job.store.readCounters(job.id))
  if (stand === undefined) return ofTheDriver(job)
  const running = Math.max(0, stand.submitted - stand.waiting - stand.delayed - stand.settled)
  return {
    total: totalOf(job),
    submitted: stand.submitted,
    waiting: stand.waiting,
    running,
    delayed: stand.delayed,
    done: stand.settled - stand.failed,
    failed: stand.failed,
    collected: job.handed,
    waitingFor:
      job.submitter.waitingFor ??
      (running > 0 ? undefined : reason(job, stand, await link.ask(() => link.fleet.read()))),
  }
}

const nothing = { total: undefined, submitted: 0, waiting: 0, running: 0, delayed: 0, done: 0, failed: 0, collected: 0 }

/** Before the first submit, and after the end: Redis knows nothing of the job. */
function ofTheDriver(job: DrivenJob): Progress {
  const arrived = job.assembler.arrived
  const waitingFor = job.over ? undefined : (job.submitter.waitingFor ?? 'its first inputs')
  return {
    ...nothing,
    total: totalOf(job),
    submitted: job.submitter.acknowledged,
    done: arrived,
    collected: job.handed,
    waitingFor,
  }
}

function totalOf(job: DrivenJob): number | undefined {
  const { fields } = job.part
  if (fields.kind === 'range') return fields.total
  return job.inputsComplete() ? job.outbox.end : undefined
}

/** Why nothing of the job runs. */
function reason(job: DrivenJob, stand: PartCounters, workers: readonly WorkerView[]): string | undefined {
  const { task, hash } = job.part.fields
  if (stand.complete && stand.settled >= stand.submitted) return undefined
  if (stand.state === 'parked') return 'its driver, which was silent for too long and attaches to it again'
  if (!workers.some(worker => worker.hash === hash)) {
    const others = workers.length > 0 ? `; the ${workers.length} that live have other code` : ''
    return `a worker with the code ${hash} of the task ${JSON.stringify(task)}${others}`
  }
  if (stand.waiting > 0) return 'a free thread: all are busy with other jobs'
  if (stand.delayed > 0) return 'the delay before a retry'
  if (job.room() <= 0) return 'its consumer, which has not taken the results that are there'
  return 'more inputs'
}
