import type { PartCounters } from '../protocol/records.ts'
import { explainWait, stagedTasks } from '../store/inspect/explain-wait.ts'
import type { DrivenJob } from './driven-job.ts'
import type { Link } from './link.ts'
import type { Opening } from './opening.ts'
import type { Progress } from './types.ts'

/** How far a job is, from its record, and what it waits for. */
export async function readProgress({
  opening,
  link,
}: {
  readonly opening: Opening
  readonly link: Link
}): Promise<Progress> {
  const { job } = opening
  if (job === undefined) {
    return { ...nothing, waitingFor: opening.ended ? undefined : (opening.waitingFor ?? 'its driver to begin') }
  }
  const stand = job.over ? undefined : await link.ask(() => job.store.parts.readCounters(job.id))
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
    collected: job.delivery.handed,
    waitingFor:
      job.waitingFor ??
      (await link.ask(async () => ((await isRunning(job, running)) ? undefined : reason(job, stand)))),
  }
}

const nothing = { total: undefined, submitted: 0, waiting: 0, running: 0, delayed: 0, done: 0, failed: 0, collected: 0 }

/** Before the first submit, and after the end: Redis knows nothing of the job. */
function ofTheDriver(job: DrivenJob): Progress {
  const arrived = job.assembler.arrived
  const waitingFor = job.over ? undefined : (job.waitingFor ?? 'its first inputs')
  return {
    ...nothing,
    total: totalOf(job),
    submitted: job.submitter.acknowledged,
    done: arrived,
    collected: job.delivery.handed,
    waitingFor,
  }
}

function totalOf(job: DrivenJob): number | undefined {
  const { fields } = job.part
  if (fields.kind === 'range') return fields.total
  return job.inputsComplete() ? job.outbox.end : undefined
}

/** Whether a thread has any of it: what is on the stage counts as running, and may stand there while all are busy. */
async function isRunning(job: DrivenJob, running: number): Promise<boolean> {
  return running > 0 && running > (await stagedTasks(job.store, job.part.hash, job.id))
}

/** Why nothing of the job runs. */
async function reason(job: DrivenJob, stand: PartCounters): Promise<string | undefined> {
  if (stand.state === 'parked') return 'its driver, which was silent for too long and attaches to it again'
  if (stand.settled < stand.submitted) return explainWait(job.store, { job: job.id })
  if (stand.complete) return undefined
  return job.room() <= 0 ? 'its consumer, which has not taken the results that are there' : 'more inputs'
}
