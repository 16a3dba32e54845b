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

/** A worker that Redis takes for alive. */
export interface Known {
  /** The keys of its records, one for each lane. */
  readonly records: readonly string[]
  /** Whether it holds chunks on any of them. */
  readonly isHolding: boolean
}

/** The workers that Redis takes for alive on any lane, by the number of their process. */
export async function workersKnown(world: Inspected): Promise<Map<number, Known>> {
  const { server } = world
  const known = new Map<number, Known>()
  const onLane = async (tag: string) => lines(await server.ask(tag, 'EVAL', aliveScript, '1', tag))
  for (const line of (await Promise.all((await tagsOf(world)).map(onLane))).flat()) {
    const { record, info, held } = JSON.parse(line) as { record: string; info: string; held: number }
    const { pid } = JSON.parse(info) as { pid: number }
    const { records, isHolding } = known.get(pid) ?? { records: [], isHolding: false }
    known.set(pid, { records: [...records, record], isHolding: isHolding || held > 0 })
  }
  return known
}

/** Whether the worker with these records holds chunks. */
export async function isHolding({ server }: Inspected, records: readonly string[]): Promise<boolean> {
  const onLane = async (record: string) => {
    const tag = record.slice(0, record.indexOf('}') + 1)
    return Number(await server.ask(tag, 'EVAL', heldScript, '2', tag, record))
  }
  return (await Promise.all(records.map(onLane))).some(held => held > 0)
}

/*
 * One script for each look: whoever looks has stopped a worker, which is taken for dead soon, and with a redis-cli for each
 * command that is what a busy machine finds.
 */
const countHeld = `
local function held(tag, record)
  local count = 0
  for _, claim in ipairs(redis.call('SMEMBERS', record .. ':claims')) do
    count = count + redis.call('EXISTS', tag .. ':claim:' .. claim)
  end
  return count
end
`
const heldScript = `${countHeld} return held(KEYS[1], KEYS[2])`
const aliveScript = `${countHeld}
local alive = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1] .. ':workers', 0, -1)) do
  local record = KEYS[1] .. ':worker:' .. id
  local info = redis.call('HGET', record, 'info')
  if info then alive[#alive + 1] = cjson.encode({record = record, info = info, held = held(KEYS[1], record)}) end
end
return alive`

/** All keys of the queue. */
export async function keysOf({ server, namespace }: Inspected): Promise<string[]> {
  return (await server.askAll('--scan', '--pattern', `{${namespace}:*`)).flatMap(lines)
}

export function lines(reply: string): string[] {
  return reply.split('\n').filter(line => line !== '')
}
