import { laneTag } from '../src/protocol/keys.ts'
import type { World } from './world.ts'

/** What Redis says of the workers, asked beside the proxy. */

export type Inspected = Pick<World, 'server' | 'namespace'>

/** The hash tags of the queue's lanes: one, or one for each master of a Cluster. */
export async function tagsOf({ server, namespace }: Inspected): Promise<string[]> {
  const first = laneTag({ namespace, queue: 'default', lane: 0 })
  const lanes = await server.ask(first, 'HGET', `${first}:lane`, 'lanes')
  const numbers = lanes.split(',').filter(lane => lane !== '')
  return [...new Set(['0', ...numbers])].map(lane => laneTag({ namespace, queue: 'default', lane: Number(lane) }))
}

/** The workers that Redis takes for alive on any lane, by the number of their process: the keys of their records there. */
export async function workersKnown(world: Inspected): Promise<Map<number, string[]>> {
  const { server } = world
  const known = new Map<number, string[]>()
  for (const tag of await tagsOf(world)) {
    for (const id of lines(await server.ask(tag, 'ZRANGE', `${tag}:workers`, '0', '-1'))) {
      const key = `${tag}:worker:${id}`
      const info = await server.ask(tag, 'HGET', key, 'info')
      if (info === '') continue
      const { pid } = JSON.parse(info) as { pid: number }
      known.set(pid, [...(known.get(pid) ?? []), key])
    }
  }
  return known
}

/** The processes of the workers that hold chunks. */
export async function workersHolding(world: Inspected): Promise<Set<number>> {
  const { server } = world
  const holding = new Set<number>()
  for (const [pid, keys] of await workersKnown(world)) {
    for (const key of keys) {
      const tag = key.slice(0, key.indexOf('}') + 1)
      for (const claim of lines(await server.ask(tag, 'SMEMBERS', `${key}:claims`))) {
        if ((await server.ask(tag, 'EXISTS', `${tag}:claim:${claim}`)) === '1') holding.add(pid)
      }
    }
  }
  return holding
}

/** All keys of the queue. */
export async function keysOf({ server, namespace }: Inspected): Promise<string[]> {
  return (await server.askAll('--scan', '--pattern', `{${namespace}:*`)).flatMap(lines)
}

export function lines(reply: string): string[] {
  return reply.split('\n').filter(line => line !== '')
}
