import type { Workload } from '../events.ts'
import type { Fault } from '../world.ts'
import { cutConnections, dropReplies, halfOpen, sliceConnections, slowConnections } from './connections.ts'
import { freezeDriver, freezeWorker, killDriver, killWorker } from './processes.ts'
import {
  blockRedis,
  failOver,
  fillMemory,
  flushAll,
  flushScripts,
  killConnections,
  killRedis,
  killSubscriptions,
  pauseClients,
  slowLoading,
  truncateLog,
} from './redis.ts'

/** Every fault by the name that `--fault` takes. */
export const faults = {
  'worker-kill': killWorker,
  'worker-freeze': freezeWorker,
  'driver-kill': killDriver,
  'driver-freeze': freezeDriver,
  'redis-kill': killRedis,
  'redis-truncate': truncateLog,
  'redis-flushall': flushAll,
  'redis-script-flush': flushScripts,
  'redis-kill-pubsub': killSubscriptions,
  'redis-kill-normal': killConnections,
  'redis-pause': pauseClients,
  'redis-sleep': blockRedis,
  'redis-loading': slowLoading,
  'redis-maxmemory': fillMemory,
  failover: failOver,
  'net-cut': cutConnections,
  'net-drop-replies': dropReplies,
  'net-half-open': halfOpen,
  'net-delay': slowConnections,
  'net-slice': sliceConnections,
} as const satisfies Record<string, Fault>

export type FaultName = keyof typeof faults

export const faultNames = Object.keys(faults) as FaultName[]

/** Faults that are workloads: tasks that do harm by themselves. */
export const harmfulWorkloads = { poison: 'poison', burn: 'burn' } as const satisfies Record<string, Workload>
