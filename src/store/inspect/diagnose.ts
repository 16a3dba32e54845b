import type { Redis } from 'ioredis'
import type { LaneStore } from '../lane-store.ts'
import { redisNowMs, timed } from './census.ts'
import { readDurability } from './durability.ts'
import { addressOf, inWords } from './info.ts'
import { readJobs } from './jobs.ts'
import type { Check, JobView, WorkerView } from './reports.ts'
import { evictionCure, evictionProblem, evicts, readServer, versionProblem } from './server.ts'
import type { ServerFacts } from './server.ts'
import { readWorkers } from './workers.ts'

/** Jobs that are looked at, the newest ones. */
const mostJobs = 500

/** What `millrace doctor` looks at: the servers first, then each lane. Only reads. Rejects when Redis can't be reached. */
export async function diagnose(servers: readonly Redis[], lanes: readonly LaneStore[]): Promise<Check[]> {
  const checks: Check[] = []
  for (const server of servers) checks.push(...of(servers, addressOf(server), await serverChecks(server)))
  for (const lane of lanes) checks.push(...of(lanes, `lane ${lane.lane.lane}`, await laneChecks(lane)))
  return checks
}

/** Where there are several, each says which it is of. */
function of(all: readonly unknown[], which: string, checks: readonly Check[]): readonly Check[] {
  return all.length === 1 ? checks : checks.map(check => ({ ...check, name: `${check.name} (${which})` }))
}

async function serverChecks(server: Redis): Promise<Check[]> {
  const facts = await readServer(server)
  return [
    await latencyCheck(server),
    versionCheck(facts),
    evictionCheck(facts),
    memoryCheck(facts),
    await clockCheck(server),
    await persistenceCheck(server),
  ]
}

async function latencyCheck(server: Redis): Promise<Check> {
  const times: number[] = []
  for (let i = 0; i < 9; i++) {
    const started = performance.now()
    await server.ping()
    times.push(performance.now() - started)
  }
  const medianMs = times.sort((a, b) => a - b)[4] ?? 0
  const detail = `answers in ${medianMs.toFixed(2)} ms (median of ${times.length})`
  if (medianMs < 5) return { name: 'reachable', status: 'ok', detail }
  return {
    name: 'reachable',
    status: 'warn',
    detail,
    advice:
      'Single tasks take at least two such trips. Put Redis nearer to the workers, or look into `redis-cli --latency` and SLOWLOG for what holds it up.',
  }
}

function versionCheck(facts: ServerFacts): Check {
  const name = 'version'
  if (facts.supported) return { name, status: 'ok', detail: `${facts.product} ${facts.version}` }
  return { name, status: 'fail', detail: versionProblem(facts), advice: 'Upgrade the server.' }
}

function evictionCheck(facts: ServerFacts): Check {
  const name = 'maxmemory-policy'
  const { evictionPolicy: policy } = facts
  if (policy === '')
    return { name, status: 'warn', detail: 'the server does not tell it', advice: 'Make sure that it is noeviction.' }
  if (policy === 'noeviction') return { name, status: 'ok', detail: policy }
  if (evicts(facts)) return { name, status: 'fail', detail: evictionProblem(facts), advice: evictionCure }
  return { name, status: 'warn', detail: `${policy}, without effect as long as maxmemory is 0`, advice: evictionCure }
}

function memoryCheck({ usedMemoryBytes, maxMemoryBytes }: ServerFacts): Check {
  const name = 'memory'
  const used = `${Math.round(usedMemoryBytes / 2 ** 20)} MB used`
  if (!(maxMemoryBytes > 0)) return { name, status: 'ok', detail: `${used}, no limit set` }
  const share = usedMemoryBytes / maxMemoryBytes
  const detail = `${used} of ${Math.round(maxMemoryBytes / 2 ** 20)} MB (${Math.round(share * 100)} %)`
  if (share < 0.8) return { name, status: 'ok', detail }
  return {
    name,
    status: share < 1 ? 'warn' : 'fail',
    detail,
    advice:
      'At the limit new work is refused while work under way still drains. Raise maxmemory, or collect or drop finished jobs (`millrace jobs`).',
  }
}

/** Leases are measured by Redis's clock alone, so a difference harms nothing but the times that people read. */
async function clockCheck(server: Redis): Promise<Check> {
  const before = Date.now()
  const redisMs = await redisNowMs({ client: server })
  const offsetMs = redisMs - (before + Date.now()) / 2
  const detail =
    Math.abs(offsetMs) < 1000
      ? 'in step with this machine'
      : `${inWords(Math.abs(offsetMs))} ${offsetMs > 0 ? 'ahead of' : 'behind'} this machine`
  if (Math.abs(offsetMs) < 5000) return { name: 'clock', status: 'ok', detail }
  return {
    name: 'clock',
    status: 'warn',
    detail,
    advice:
      "Leases go by Redis's clock and are right all the same; set one of the clocks so that times in reports agree.",
  }
}

async function persistenceCheck(server: Redis): Promise<Check> {
  const { summary, aof, lossWindowMs } = await readDurability([server])
  const safe = lossWindowMs !== undefined && aof !== 'off'
  return {
    name: 'persistence',
    status: safe ? 'ok' : 'warn',
    detail: summary,
    advice: safe
      ? undefined
      : 'While a driver lives it submits again what Redis lost; detached jobs need `appendonly yes`.',
  }
}

async function laneChecks(lane: LaneStore): Promise<Check[]> {
  const { client, keys } = lane
  const [workers, jobs, dead, leases, nowMs, quarantined, malformed] = await Promise.all([
    readWorkers(lane),
    readJobs(lane, { limit: mostJobs }),
    client.zcard(keys.dead),
    client.zrange(keys.workers, 0, '999', 'WITHSCORES'),
    redisNowMs(lane),
    client.hlen(keys.quarantine),
    client.llen(keys.malformed),
  ])
  const lapsed = timed(leases).filter(({ atMs }) => atMs < nowMs).length
  return [
    workerCheck(workers, lapsed, dead),
    leftoverCheck(jobs),
    mismatchCheck(jobs, workers),
    countCheck(
      'quarantine',
      quarantined,
      'tasks took their process down every time and were set aside',
      `Look at them with \`redis-cli hgetall '${keys.quarantine}'\`; each entry has its evidence.`,
    ),
    countCheck(
      'malformed',
      malformed,
      'elements were none of ours and were set aside',
      `Something else writes to keys of Millrace. Look at \`redis-cli lrange '${keys.malformed}' 0 -1\`, and give it a namespace of its own.`,
    ),
  ]
}

export function workerCheck(workers: readonly WorkerView[], lapsed: number, dead: number): Check {
  const name = 'workers'
  const threads = workers.reduce((sum, worker) => sum + worker.threads, 0)
  const detail = `${workers.length} workers with ${threads} threads`
  if (workers.length === 0)
    return {
      name,
      status: 'warn',
      detail: 'none',
      advice: 'Start one with `millrace worker tasks.ts`, or give connect() `threads`.',
    }
  if (lapsed === 0)
    return { name, status: 'ok', detail: dead === 0 ? detail : `${detail}; ${dead} dead ones are being cleared away` }
  return {
    name,
    status: 'warn',
    detail: `${detail}, of which ${lapsed} have let their lease lapse`,
    advice:
      'They died or hang; the others take over their work within a lease. If this stays so, no worker lives to do that: start one.',
  }
}

export function leftoverCheck(jobs: readonly JobView[]): Check {
  const name = 'jobs'
  const parked = jobs.filter(({ state }) => state === 'parked')
  if (parked.length === 0) return { name, status: 'ok', detail: `${jobs.length} jobs` }
  const soonestMs = Math.min(...parked.map(({ expiresInMs }) => expiresInMs ?? Infinity))
  const some = parked.slice(0, 3).map(({ id }) => id)
  return {
    name,
    status: 'warn',
    detail: `${parked.length} of ${jobs.length} jobs lost their driver and wait (${some.join(', ')}${parked.length > 3 ? ', …' : ''}); the first expires in ${inWords(soonestMs)}`,
    advice: 'attach(id) goes on with one; cancel it to free its memory at once.',
  }
}

/** Jobs that wait for code that nobody runs while somebody runs their task in another version. */
export function mismatchCheck(jobs: readonly JobView[], workers: readonly WorkerView[]): Check {
  const name = 'code'
  const hashes = new Set(workers.map(({ hash }) => hash))
  const stuck = jobs.filter(
    ({ hash, state, waiting, delayed }) => state === 'open' && waiting + delayed > 0 && !hashes.has(hash),
  )
  const [first] = stuck
  if (first === undefined) return { name, status: 'ok', detail: 'every waiting job has workers with its code' }
  const others = [
    ...new Set(workers.filter(({ tasks }) => tasks.includes(first.task)).map(({ hash }) => hash.slice(0, 8))),
  ]
  const detail = `${stuck.length} jobs wait for code that no worker runs: ${first.id} needs ${JSON.stringify(first.task)} of code ${first.hash.slice(0, 8)}`
  return others.length === 0
    ? { name, status: 'warn', detail, advice: 'Start a worker with the task module that the job was submitted with.' }
    : {
        name,
        status: 'fail',
        detail: `${detail}, workers run it in code ${others.join(', ')}`,
        advice: 'Restart the workers with the task module that the job was submitted with, or submit it again.',
      }
}

function countCheck(name: string, count: number, what: string, advice: string): Check {
  return count === 0
    ? { name, status: 'ok', detail: 'none' }
    : { name, status: 'warn', detail: `${count} ${what}`, advice }
}
