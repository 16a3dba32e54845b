import { subscribe } from 'node:diagnostics_channel'
import { connect } from 'millrace'
import type { Job } from 'millrace'
import type { JobSpec, Poison, Workload } from '../events.ts'
import { History } from '../history.ts'
import { seededRandom, wholeBetween } from '../random.ts'
import type { Random } from '../random.ts'
import { recordSubmits } from './record-submits.ts'
import { readSettings } from './settings.ts'
import type { DriverSettings } from './settings.ts'
import { runJob, takeOver } from './workloads.ts'

/**
 * A driver of a chaos run: `driver.ts <settings as JSON>`. Goes on with the jobs that it is given, and has one job of each
 * workload under way until it gets SIGUSR2; then it sees through what it began and exits with 0.
 */

const settings = readSettings() as DriverSettings
const { redis, namespace, tasks, seed, name, workloads, left } = settings
const history = new History(settings.history, `${process.pid}`)
recordSubmits(history, subscribe)
const watched = new Map<string, Pick<Job<unknown>, 'id' | 'progress'>>()
let stopping = false

process.on('SIGUSR2', () => {
  stopping = true
  // Whoever waits in vain for this driver's end finds out what it waits for.
  setInterval(() => {
    sayProgress().catch(() => undefined)
  }, 2000).unref()
})

const mill = await connect({ redis, namespace, tasks, threads: 0, connectTimeoutMs: 30_000 })
const consumer = {
  mill,
  history,
  watch: (job: Pick<Job<unknown>, 'id' | 'progress'>) => watched.set(job.id, job),
}
console.log('ready')
await Promise.all(
  workloads.map(async (workload, number) => {
    // What was left first: the work would grow with every driver that is replaced.
    await Promise.all(left.filter(({ spec }) => spec.workload === workload).map(seeThrough))
    await repeat(workload, seed + number)
  }),
)
await mill.close()
process.exit(0)

async function seeThrough(job: (typeof left)[number]): Promise<void> {
  await takeOver(consumer, job)
  watched.delete(job.job)
}

async function repeat(workload: Workload, ownSeed: number): Promise<void> {
  const random = seededRandom(ownSeed)
  // One job in any case: a short run on a slow machine is not to be without it.
  for (let number = 1; number === 1 || !stopping; number++) {
    const id = `${name}-${workload}-${number}`
    await runJob(consumer, id, specOf(workload, random))
    watched.delete(id)
  }
}

async function sayProgress(): Promise<void> {
  for (const [id, job] of watched) {
    const { submitted, waiting, running, done, collected, waitingFor } = await job.progress()
    console.log(`${id}: ${JSON.stringify({ submitted, waiting, running, done, collected, waitingFor })}`)
  }
}

function specOf(workload: Workload, random: Random): JobSpec {
  const salt = wholeBetween(random, 0, 1_000_000)
  const of = (least: number, most: number, ms: number, poison: JobSpec['poison'] = {}): JobSpec => {
    return { workload, count: wholeBetween(random, least, most), salt, ms, poison }
  }
  switch (workload) {
    case 'stream':
      return { ...of(200, 600, wholeBetween(random, 1, 3)), unordered: salt % 3 === 0 }
    case 'reduce':
      return of(200, 1000, 1)
    case 'detached':
      return of(100, 400, wholeBetween(random, 5, 20))
    case 'range':
      return of(300, 2000, 0.5)
    case 'calls':
      return of(50, 300, 1)
    case 'burst':
      return of(20, 200, 1)
    case 'burn':
      return of(settings.burns, settings.burns, settings.burnMs)
    case 'poison':
      return of(60, 60, 1, poisonsOf(random))
  }
}

/** Each poison once, at a place of its own; the one that kills the whole process in every third job only. */
function poisonsOf(random: Random): Record<string, Poison> {
  const kinds: Poison[] = ['exit', 'loop', 'throw', 'unencodable', 'heap']
  if (random() < 1 / 3) kinds.push('kill')
  return Object.fromEntries(kinds.map((kind, number) => [10 * number + wholeBetween(random, 0, 9), kind]))
}
