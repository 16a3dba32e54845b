import { Command } from 'commander'
import { JobNotFoundError, UsageError } from '../../errors.ts'
import type { QuarantinedTask } from '../../protocol/evidence.ts'
import { inputPreview } from '../../protocol/inputs.ts'
import { checkJobId } from '../../protocol/names.ts'
import { explainWait } from '../../store/inspect/explain-wait.ts'
import { readJobs } from '../../store/inspect/jobs.ts'
import { readRefusal } from '../../store/inspect/refusal.ts'
import type { Refusal } from '../../store/inspect/refusal.ts'
import type { JobView } from '../../store/inspect/reports.ts'
import type { LaneStore } from '../../store/lane-store.ts'
import type { Lanes } from '../../store/lanes.ts'
import { renderJob, renderJobs, renderQuarantine, type JobLine } from '../jobs-text.ts'
import { wholeNumber, withJson, withRedis, type OutputFlags, type RedisFlags } from '../options.ts'
import { readQuarantine, retryQuarantined } from '../quarantine.ts'
import { withQueue } from '../redis.ts'
import { styleFor } from '../style.ts'

interface JobsFlags extends RedisFlags, OutputFlags {
  readonly cancel?: boolean
  readonly retry?: number
  readonly limit: number
}

const mostQuarantined = 100

/** `millrace jobs`: what is going on in a queue, and what each job waits for. */
export function jobsCommand(): Command {
  const command = new Command('jobs')
    .summary('list jobs, and what each waits for')
    .description('List the jobs of a queue: how far each is, what it waits for, and which tasks are in quarantine.')
    .argument('[id]', 'show this job only, with all that is known of it')
    .option('--cancel', 'cancel the job: its waiting tasks at once, its running ones within a second')
    .option(
      '--retry <index>',
      'run a quarantined task of the job again, if nobody has seen its failure',
      wholeNumber(0, 1e15 - 1),
    )
    .option('--limit <n>', 'list at most so many, the newest ones', wholeNumber(1, 10_000), 50)
    .action(async (id: string | undefined, flags: JobsFlags) => {
      if (id === undefined && flags.cancel === true) {
        throw new UsageError(
          '--cancel needs the id of a job, since cancelling them all is rarely meant: millrace jobs ID --cancel.',
        )
      }
      if (id === undefined && flags.retry !== undefined) {
        throw new UsageError(
          '--retry needs the id of a job, since an index says which of its tasks: millrace jobs ID --retry INDEX.',
        )
      }
      if (flags.cancel === true && flags.retry !== undefined) {
        throw new UsageError('--cancel and --retry want opposite things of the job: give one of them.')
      }
      if (id !== undefined) checkJobId(id)
      await withQueue(flags, async (lanes, where) => {
        const print = (data: object, text: () => string) => {
          process.stdout.write(`${flags.json === true ? JSON.stringify(data) : text()}\n`)
        }
        if (id === undefined) await list(lanes, flags.limit, where, print)
        else if (flags.cancel === true) await cancel(await lanes.find(id), id, print)
        else if (flags.retry !== undefined) await retry(lanes, id, flags.retry, print)
        else await show(await lanes.find(id), id, print)
      })
    })
  return withJson(withRedis(command))
}

type Print = (data: object, text: () => string) => void

async function list(lanes: Lanes, limit: number, where: string, print: Print): Promise<void> {
  const perLane = await Promise.all(lanes.all.map(store => listLane(store, limit)))
  const lines = perLane
    .flatMap(lane => lane.lines)
    .sort((a, b) => b.job.createdAtMs - a.job.createdAtMs)
    .slice(0, limit)
  const quarantine = perLane.flatMap(lane => lane.quarantine).sort((a, b) => b.at - a.at)
  print({ jobs: lines.map(jobData), quarantine: quarantine.map(taskData) }, () => {
    const style = styleFor(process.stdout)
    const queue = `queue ${lanes.first.lane.queue} of ${where}`
    const table = lines.length === 0 ? `No jobs in ${queue}.` : renderJobs(lines, Date.now(), style)
    return quarantine.length === 0 ? table : `${table}\n\n${renderQuarantine(quarantine, Date.now(), style)}`
  })
}

async function listLane(store: LaneStore, limit: number) {
  const [jobs, quarantine, refusal] = await Promise.all([
    readJobs(store, { limit }),
    readQuarantine(store, mostQuarantined),
    readRefusal(store.client),
  ])
  return { lines: await Promise.all(jobs.map(job => explain(store, job, refusal))), quarantine }
}

async function show(store: LaneStore, id: string, print: Print): Promise<void> {
  const [job, quarantine] = await Promise.all([findJob(store, id), readQuarantine(store, mostQuarantined, id)])
  const line = await explain(store, job, await readRefusal(store.client))
  print({ ...jobData(line), quarantine: quarantine.map(taskData) }, () => {
    const style = styleFor(process.stdout)
    const text = renderJob(line, Date.now(), style)
    return quarantine.length === 0 ? text : `${text}\n\n${renderQuarantine(quarantine, Date.now(), style)}`
  })
}

async function cancel(store: LaneStore, id: string, print: Print): Promise<void> {
  const part = await store.parts.readPart(id)
  if (part === undefined || part.state === 'cancelled') throw unknownJob(id)
  const { incarnation, hash } = part
  const outcome = await store.parts.drop({ job: id, incarnation, collector: '', hash })
  if (outcome !== 'dropped') throw unknownJob(id)
  await store.publishControl({ type: 'cancel', job: id, incarnation, index: undefined })
  print({ cancelled: id }, () => `Cancelled ${id}.`)
}

async function retry(lanes: Lanes, id: string, index: number, print: Print): Promise<void> {
  await retryQuarantined(lanes, id, index)
  const waitsFor = await explainWait(await lanes.find(id), { job: id })
  print({ retried: { job: id, index }, waitsFor: waitsFor ?? null }, () => {
    const rest = waitsFor === undefined ? '' : ` The job waits: ${waitsFor}.`
    return `Task ${id}/${index} is in line again, with no death to its name.${rest}`
  })
}

async function findJob(store: LaneStore, id: string): Promise<JobView> {
  const rank = await store.client.zrevrank(store.keys.jobs, id)
  // Jobs that began since then have pushed it back.
  const jobs = rank === null ? [] : await readJobs(store, { offset: rank, limit: 100 })
  const job = jobs.find(candidate => candidate.id === id)
  if (job === undefined) throw unknownJob(id)
  return job
}

function unknownJob(id: string): JobNotFoundError {
  return new JobNotFoundError(
    `There is no job ${JSON.stringify(id)} in this queue: it has ended and was collected, was cancelled, has expired, or is in another queue or namespace. List what there is with millrace jobs.`,
  )
}

async function explain(store: LaneStore, job: JobView, refusal: Refusal | undefined): Promise<JobLine> {
  return { job, waitsFor: await explainWait(store, { job: job.id, refusal }) }
}

function jobData({ job, waitsFor }: JobLine): object {
  return { ...job, waitsFor: waitsFor ?? null }
}

function taskData({ job, index, at, worker, evidence, chunk }: QuarantinedTask): object {
  const facts = { job, index, atMs: at, worker, evidence }
  if (chunk === undefined) return facts
  const { task, attempt } = chunk.header
  return { ...facts, task, attempt, input: inputPreview(chunk.header, chunk.payload) }
}
