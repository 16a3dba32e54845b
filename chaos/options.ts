import { parseArgs } from 'node:util'
import { faultNames, faults, harmfulWorkloads } from './faults/index.ts'
import type { FaultName } from './faults/index.ts'
import { workloads } from './events.ts'
import type { Workload } from './events.ts'
import { persistences, serverKinds } from './server.ts'
import type { Persistence, ServerKind } from './server.ts'
import type { Fault } from './world.ts'

export interface ChaosOptions {
  readonly seed: number
  readonly seconds: number
  readonly server: ServerKind
  readonly persistence: Persistence
  readonly workers: number
  readonly threads: number
  readonly leaseMs: number
  readonly faults: readonly FaultName[]
  readonly workloads: readonly Workload[]
  /** What a task of the workload `burn` computes, in leases. */
  readonly burnLeases: number
  /** How many of them there are at a time. */
  readonly burns: number
  /** All is healed, and nothing happens any more for so long: then drivers are given up that have not ended. */
  readonly drainSeconds: number
  /** How often memory and keys are measured; 0 is never. */
  readonly sampleSeconds: number
  readonly json: boolean
  /** The histories of a green run are kept as well. */
  readonly keep: boolean
}

export const usage = `npm run chaos -- [options]

  --seed N              decides the plan of faults and the jobs (default: a random one, which is printed)
  --seconds N           how long faults are injected, then all is healed and drained (default 60)
  --fault NAME,…        only these faults (default: all of them)
  --server NAME         ${serverKinds.join(', ')} (default single)
  --persistence NAME    ${persistences.join(', ')} (default everysec)
  --workers N           worker processes (default 4)
  --threads N           threads of each (default 2)
  --lease MS            their lease (default 2000)
  --drain N             seconds without an event, once all is healed, after which drivers are given up (default 90)
  --sample N            every N seconds measure the memory of the oldest worker and driver, and Redis's memory and keys;
                        the oldest worker is harmed no more
  --keep                keep the histories of a green run too
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
  const server = oneOf('server', values.server ?? 'single', serverKinds)
  const harmful = Object.keys(harmfulWorkloads)
  for (const name of wanted ?? []) {
    const fault = oneOf('fault', name, [...faultNames, ...harmful])
    if (isFault(fault) && !isPossible(fault, server, persistence))
      throw new ChaosUsageError(`--fault ${fault} can't be with --server ${server} and --persistence ${persistence}.`)
  }
  return {
    seed: whole('seed', values.seed, Math.floor(Math.random() * 2 ** 31), 0),
    seconds: whole('seconds', values.seconds, 60, 1),
    server,
    persistence,
    workers: whole('workers', values.workers, 4, 2),
    threads: whole('threads', values.threads, 2, 1),
    leaseMs: whole('lease', values.lease, 2000, 1000),
    faults: faultNames.filter(name => (wanted?.includes(name) ?? true) && isPossible(name, server, persistence)),
    workloads: workloads.filter(name => !harmful.includes(name) || (wanted?.includes(name) ?? name === 'poison')),
    // A burning task that is killed with its worker is charged for it: together with kills it has to be short.
    burnLeases: wanted?.length === 1 ? 10 : 1,
    // Threads are left for what else there is to do.
    burns: wanted?.length === 1 ? 6 : 1,
    drainSeconds: whole('drain', values.drain, 90, 1),
    sampleSeconds: whole('sample', values.sample, 0, 1),
    json: values.json === true,
    keep: values.keep === true,
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
        server: { type: 'string' },
        persistence: { type: 'string' },
        threads: { type: 'string' },
        sample: { type: 'string' },
        workers: { type: 'string' },
        lease: { type: 'string' },
        drain: { type: 'string' },
        json: { type: 'boolean' },
        keep: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    })
  } catch (error) {
    throw new ChaosUsageError(error instanceof Error ? error.message : String(error))
  }
}

function isFault(name: string): name is FaultName {
  return name in faults
}

function isPossible(name: FaultName, server: ServerKind, persistence: Persistence): boolean {
  const fault: Fault = faults[name]
  return (fault.servers?.includes(server) ?? true) && (name !== 'redis-truncate' || persistence !== 'rdb')
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
