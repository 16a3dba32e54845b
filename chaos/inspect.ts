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
  const onLane = async (tag: string) => {
    const ids = lines(await server.ask(tag, 'ZRANGE', `${tag}:workers`, '0', '-1'))
    return Promise.all(
      ids.map(async id => ({
        key: `${tag}:worker:${id}`,
        info: await server.ask(tag, 'HGET', `${tag}:worker:${id}`, 'info'),
      })),
    )
  }
  for (const { key, info } of (await Promise.all((await tagsOf(world)).map(onLane))).flat()) {
    if (info === '') continue
    const { pid } = JSON.parse(info) as { pid: number }
    known.set(pid, [...(known.get(pid) ?? []), key])
  }
  return known
}

/** Whether the worker with these records holds chunks. */
export async function isHolding({ server }: Inspected, keys: readonly string[]): Promise<boolean> {
  const counts = await Promise.all(
    keys.map(async key => {
      const tag = key.slice(0, key.indexOf('}') + 1)
      const claims = lines(await server.ask(tag, 'SMEMBERS', `${key}:claims`))
      if (claims.length === 0) return 0
      return Number(await server.ask(tag, 'EXISTS', ...claims.map(claim => `${tag}:claim:${claim}`)))
    }),
  )
  return counts.some(count => count > 0)
}

/** All keys of the queue. */
export async function keysOf({ server, namespace }: Inspected): Promise<string[]> {
  return (await server.askAll('--scan', '--pattern', `{${namespace}:*`)).flatMap(lines)
}

export function lines(reply: string): string[] {
  return reply.split('\n').filter(line => line !== '')
}
