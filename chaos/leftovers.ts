import type { Violation } from './check/violation.ts'
import { lines, tagOf } from './inspect.ts'
import type { World } from './world.ts'

type Inspected = Pick<World, 'server' | 'namespace'>

/** What is still in Redis of work that has ended: empty when everything is as it should be. `mayBeSetAside`: `<job>:<index>`. */
export async function findLeftovers(world: Inspected, mayBeSetAside: (task: string) => boolean): Promise<Violation[]> {
  const { server } = world
  const tag = tagOf(world)
  const found: Violation[] = []
  for (const key of lines(await server.cli('--scan', '--pattern', `*${world.namespace}*`))) {
    if (key === `${tag}:lane` || key === `${tag}:retired`) continue
    if (key === `${tag}:quarantine`) {
      for (const task of lines(await server.cli('HKEYS', key))) {
        if (!mayBeSetAside(task)) found.push({ rule: 'charged wrongly', what: `${task} was set aside`, events: [] })
      }
      continue
    }
    if (await isTombstone(server, key)) continue
    found.push({ rule: 'left over', what: `${key}: ${await describe(server, key)}`, events: [] })
  }
  return found
}

/** What still names workers that are gone, or holds chunks: the fleet sees to it, while it lives. */
export async function isSettling(world: Inspected): Promise<boolean> {
  const tag = tagOf(world)
  const keys = lines(await world.server.cli('--scan', '--pattern', `${tag}:*`))
  return keys.some(key => key === `${tag}:dead` || /:(claim:\w+|stage:\w+|due|driven|jobs)$/.test(key))
}

/** What stays for a while of a job that was attached to, so that a driver that was frozen finds out. */
async function isTombstone(server: World['server'], key: string): Promise<boolean> {
  if (!/:part:[^:]+$/.test(key)) return false
  return (await server.cli('HGET', key, 'state')) === 'cancelled' && Number(await server.cli('PTTL', key)) > 0
}

async function describe(server: World['server'], key: string): Promise<string> {
  const type = await server.cli('TYPE', key)
  const read: Readonly<Record<string, readonly string[]>> = {
    hash: ['HGETALL'],
    list: ['LRANGE', '0', '5'],
    set: ['SMEMBERS'],
    zset: ['ZRANGE', '0', '5', 'WITHSCORES'],
  }
  const [command, ...rest] = read[type] ?? []
  if (command === undefined) return type
  const content = await server.cli(command, key, ...rest)
  return `${type} ${JSON.stringify(content.slice(0, 300))}`
}
