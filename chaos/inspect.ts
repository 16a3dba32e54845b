import type { World } from './world.ts'

/** What Redis says of the workers, asked beside the proxy. */

type Inspected = Pick<World, 'server' | 'namespace'>

export function tagOf({ namespace }: Pick<World, 'namespace'>): string {
  return `{${namespace}:default:0}`
}

/** The ids of the workers that Redis takes for alive, by the number of their process. */
export async function workersKnown(world: Inspected): Promise<Map<number, string>> {
  const known = new Map<number, string>()
  for (const id of lines(await world.server.cli('ZRANGE', `${tagOf(world)}:workers`, '0', '-1'))) {
    const info = await world.server.cli('HGET', `${tagOf(world)}:worker:${id}`, 'info')
    if (info !== '') known.set((JSON.parse(info) as { pid: number }).pid, id)
  }
  return known
}

/** The processes of the workers that hold chunks. */
export async function workersHolding(world: Inspected): Promise<Set<number>> {
  const holding = new Set<number>()
  for (const [pid, id] of await workersKnown(world)) {
    for (const claim of lines(await world.server.cli('SMEMBERS', `${tagOf(world)}:worker:${id}:claims`))) {
      if ((await world.server.cli('EXISTS', `${tagOf(world)}:claim:${claim}`)) === '1') holding.add(pid)
    }
  }
  return holding
}

export function lines(reply: string): string[] {
  return reply.split('\n').filter(line => line !== '')
}
