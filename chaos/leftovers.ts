import type { Story } from './check/story.ts'
import type { Violation } from './check/violation.ts'
import { keysOf, lines } from './inspect.ts'
import type { Inspected } from './inspect.ts'
import type { World } from './world.ts'

/** What may stay in Redis, and why. */
export interface Excuses {
  /** The task, `<job>:<index>`, took its thread or process down. */
  readonly mayBeSetAside: (task: string) => boolean
  /** Redis went back to when the job was there, and whoever could have dropped it is gone; or it has lost tasks, and what is there stays there. It expires. */
  readonly mayExpire: (job: string) => boolean
}

export function excusesOf({ jobs, losses, kills, submits }: Story): Excuses {
  const gone = new Set(kills.flatMap(({ what, pid }) => (what === 'driver' ? [pid] : [])))
  return {
    mayBeSetAside: task => {
      const [job = '', index = ''] = task.split(':')
      return jobs.get(job)?.spec.poison[index] !== undefined
    },
    mayExpire: job => {
      const lives = jobs.get(job)?.lives
      if (lives === undefined) {
        // The job of calls of `run` is known to nobody but its driver, which is gone, or had dropped it before Redis went back.
        const last = submits.findLast(submit => submit.job === job)
        return last !== undefined && (gone.has(last.by) || losses.some(({ beginsAt }) => beginsAt >= last.invokedAt))
      }
      return lives.some(({ by, ended }) => {
        if (ended?.ending.how === 'error' && ended.ending.code === 'TASKS_LOST') return true
        return gone.has(by) && ended !== undefined && losses.some(({ beginsAt }) => beginsAt >= ended.at - mostLostMs)
      })
    },
  }
}

/** Redis goes back by no more than this. */
const mostLostMs = 5000

/** What is still in Redis of work that has ended: empty when everything is as it should be. */
export async function findLeftovers(world: Inspected, excuses: Excuses): Promise<Violation[]> {
  const { server } = world
  const found: Violation[] = []
  for (const key of await keysOf(world)) {
    if (/}:(lane|retired)$/.test(key)) continue
    if (key.endsWith('}:quarantine')) {
      for (const task of lines(await server.ask(key, 'HKEYS', key))) {
        if (!excuses.mayBeSetAside(task))
          found.push({ rule: 'charged wrongly', what: `${task} was set aside`, events: [] })
      }
      continue
    }
    if (await isExcused(world, key, excuses)) continue
    found.push({ rule: 'left over', what: `${key}: ${await describe(server, key)}`, events: [] })
  }
  return found
}

async function isExcused(world: Inspected, key: string, { mayExpire }: Excuses): Promise<boolean> {
  const { server } = world
  // Threads that were killed while they waited.
  if (/}:waiting:\w+$/.test(key)) return Number(await server.ask(key, 'PTTL', key)) > 0
  if (key.endsWith('}:jobs')) return lines(await server.ask(key, 'ZRANGE', key, '0', '-1')).every(mayExpire)
  const job = /:part:([^:]+)(:\w+)?$/.exec(key)?.[1]
  if (job === undefined) return false
  const expires = Number(await server.ask(key, 'PTTL', key)) > 0
  return expires && (mayExpire(job) || (await isTombstone(server, key)))
}

/** What still names workers that are gone, holds chunks, or has neither a driver nor an expiry: the fleet sees to it, while it lives. */
export async function isSettling(world: Inspected, excuses: Excuses): Promise<boolean> {
  const keys = await keysOf(world)
  if (keys.some(key => /:(dead|claim:\w+|stage:\w+|due|driven)$/.test(key))) return true
  const jobs = keys.filter(key => key.endsWith('}:jobs'))
  const excused = await Promise.all(jobs.map(key => isExcused(world, key, excuses)))
  return !excused.every(Boolean)
}

/** What stays for a while of a job that was attached to, so that a driver that was frozen finds out. */
async function isTombstone(server: World['server'], key: string): Promise<boolean> {
  return (
    (await server.ask(key, 'TYPE', key)) === 'hash' && (await server.ask(key, 'HGET', key, 'state')) === 'cancelled'
  )
}

async function describe(server: World['server'], key: string): Promise<string> {
  const type = await server.ask(key, 'TYPE', key)
  const read: Readonly<Record<string, readonly string[]>> = {
    hash: ['HGETALL'],
    list: ['LRANGE', '0', '5'],
    set: ['SMEMBERS'],
    zset: ['ZRANGE', '0', '5', 'WITHSCORES'],
  }
  const [command, ...rest] = read[type] ?? []
  if (command === undefined) return type
  const content = await server.ask(key, command, key, ...rest)
  return `${type} ${JSON.stringify(content.slice(0, 300))}`
}
