import { setTimeout as sleep } from 'node:timers/promises'
import type { Worker } from '../fleet.ts'
import { isHolding, workersKnown } from '../inspect.ts'
import { pick } from '../random.ts'
import type { Random } from '../random.ts'
import type { Fault, World } from '../world.ts'

/** Faults of workers and drivers. */

export const killWorker: Fault = {
  lane: 'processes',
  inject: async ({ fleet }, dice) => {
    if (fleet.able.length < 2) return undefined
    const worker = pick(dice, fleet.able)
    fleet.kill(worker)
    return `worker ${worker.pid}`
  },
}

const frozenLeases = 3

/** A worker that holds chunks stops for three leases: Redis declares it dead, and what it commits then must be refused. */
export const freezeWorker: Fault = {
  lane: 'processes',
  inject: async (world, dice) => {
    const frozen = await stopWhileItHolds(world, dice)
    if (frozen === undefined) return undefined
    world.background(thawLater(world, frozen))
    return `worker ${frozen.worker.pid}`
  },
}

/** Tries until a worker is stopped while it holds chunks; one that does not goes on. */
async function stopWhileItHolds(world: World, dice: Random): Promise<Frozen | undefined> {
  const { fleet, history } = world
  const deadline = performance.now() + searchMs
  while (performance.now() < deadline && fleet.able.length > 1) {
    const worker = pick(dice, fleet.able)
    worker.process.kill('SIGSTOP')
    worker.frozen = true
    // Redis may be away just now.
    const records = await holdingRecords(world, worker).catch(() => undefined)
    if (records !== undefined) {
      history.write({ type: 'frozen', what: 'worker', pid: `${worker.pid}` })
      return { worker, records }
    }
    worker.process.kill('SIGCONT')
    worker.frozen = false
    await sleep(50)
  }
  return undefined
}

const searchMs = 5000

interface Frozen {
  readonly worker: Worker
  /** The keys of its records while it lived, one for each lane. */
  readonly records: readonly string[]
}

async function holdingRecords(world: World, { pid }: Worker): Promise<readonly string[] | undefined> {
  const known = (await workersKnown(world)).get(pid)
  return known?.isHolding === true ? known.records : undefined
}

/** False when it is still not after another lease. */
async function untilBereft(world: World, worker: Worker, records: readonly string[]): Promise<boolean> {
  const deadline = performance.now() + world.leaseMs
  while (performance.now() < deadline) {
    if (await isBereft(world, worker, records).catch(() => false)) return true
    await sleep(100)
  }
  return false
}

/** Declared dead, and what it held is taken from it: before the second of the two steps its commits are still good. */
async function isBereft(world: World, { pid }: Worker, records: readonly string[]): Promise<boolean> {
  return !(await workersKnown(world)).has(pid) && !(await isHolding(world, records))
}

async function thawLater(world: World, { worker, records }: Frozen): Promise<void> {
  await sleep(frozenLeases * world.leaseMs)
  const declaredDead = await untilBereft(world, worker, records)
  world.history.write({ type: 'thawed', what: 'worker', pid: `${worker.pid}`, declaredDead })
  worker.process.kill('SIGCONT')
  worker.frozen = false
}

export const killDriver: Fault = {
  lane: 'processes',
  inject: async ({ drivers }, dice) => {
    const left = await drivers.replace(dice)
    return `${left.length} jobs were left: ${left.map(({ job }) => job).join(', ')}`
  },
}

export const freezeDriver: Fault = {
  lane: 'processes',
  inject: async ({ drivers }, dice) => {
    const taken = await drivers.freeze(dice)
    return `${taken.length} jobs were taken: ${taken.map(({ job }) => job).join(', ')}`
  },
}
