import { parseArgs } from 'node:util'
import { faultNames, harmfulWorkloads } from './faults/index.ts'
import type { FaultName } from './faults/index.ts'
import { workloads } from './events.ts'
import type { Workload } from './events.ts'
import { persistences } from './server.ts'
import type { Persistence } from './server.ts'

export interface ChaosOptions {
  readonly seed: number
  readonly seconds: number
  readonly persistence: Persistence
  readonly workers: number
  readonly leaseMs: number
  readonly faults: readonly FaultName[]
  readonly workloads: readonly Workload[]
  /** What a task of the workload `burn` computes, in leases. */
  readonly burnLeases: number
  /** How long drivers may take to see through what they began once all is healed. */
  readonly drainSeconds: number
  readonly json: boolean
}

export const usage = `npm run chaos -- [options]

  --seed N              decides the plan of faults and the jobs (default: a random one, which is printed)
  --seconds N           how long faults are injected, then all is healed and drained (default 60)
  --fault NAME,…        only these faults (default: all of them)
  --persistence NAME    ${persistences.join(', ')} (default everysec)
  --workers N           worker processes of two threads each (default 4)
  --lease MS            their lease (default 2000)
  --drain N             seconds that drivers may take at the end, once all is healed (default 90)
  --json                the report as JSON on stdout

Faults: ${[...faultNames, ...Object.keys(harmfulWorkloads)].join(', ')}

       npm run chaos:mutations   breaks the source in one place after another and shows what notices
`

/** @throws {UsageError} */
export function readOptions(args: readonly string[]): ChaosOptions | 'help' {
  const { values } = parse(args)
  if (values.help === true) return 'help'
  const wanted = values.fault === undefined ? undefined : values.fault.split(',').filter(name => name !== '')
  const persistence = oneOf('persistence', values.persistence ?? 'everysec', persistences)
  const harmful = Object.keys(harmfulWorkloads)
  for (const name of wanted ?? []) oneOf('fault', name, [...faultNames, ...harmful])
  return {
    seed: whole('seed', values.seed, Math.floor(Math.random() * 2 ** 31), 0),
    seconds: whole('seconds', values.seconds, 60, 1),
    persistence,
    workers: whole('workers', values.workers, 4, 2),
    leaseMs: whole('lease', values.lease, 2000, 1000),
    faults: faultNames.filter(name => (wanted?.includes(name) ?? true) && isPossible(name, persistence)),
    workloads: workloads.filter(name => !harmful.includes(name) || (wanted?.includes(name) ?? name === 'poison')),
    // A burning task that is killed with its worker is charged for it: together with kills it has to be short.
    burnLeases: wanted?.length === 1 ? 10 : 1,
    drainSeconds: whole('drain', values.drain, 90, 1),
    json: values.json === true,
  }
}

/** Something was asked for that there is not. */
export class ChaosUsageError extends Error {
  override readonly name = 'ChaosUsageError'
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        seed: { type: 'string' },
        seconds: { type: 'string' },
        fault: { type: 'string' },
        persistence: { type: 'string' },
        workers: { type: 'string' },
        lease: { type: 'string' },
        drain: { type: 'string' },
        json: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    })
  } catch (error) {
    throw new ChaosUsageError(error instanceof Error ? error.message : String(error))
  }
}

function isPossible(fault: FaultName, persistence: Persistence): boolean {
  return fault !== 'redis-truncate' || persistence !== 'rdb'
}

function whole(option: string, text: string | undefined, otherwise: number, least: number): number {
  if (text === undefined) return otherwise
  const value = Number(text)
  if (Number.isInteger(value) && value >= least) return value
  throw new ChaosUsageError(`--${option} can't be ${JSON.stringify(text)}: give a whole number from ${least} on.`)
}

function oneOf<T extends string>(option: string, text: string, known: readonly T[]): T {
  const found = known.find(name => name === text)
  if (found !== undefined) return found
  throw new ChaosUsageError(`--${option} can't be ${JSON.stringify(text)}: there are ${known.join(', ')}.`)
}
