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
    const worker = await stopWhileItHolds(world, dice)
    if (worker === undefined) return undefined
    world.background(thawLater(world, worker))
    return `worker ${worker.pid}`
  },
}

/** Tries until a worker is stopped while it holds chunks; one that does not goes on. */
async function stopWhileItHolds(world: World, dice: Random): Promise<Worker | undefined> {
  const { fleet, history } = world
  const deadline = performance.now() + searchMs
  while (performance.now() < deadline && fleet.able.length > 1) {
    const worker = pick(dice, fleet.able)
    worker.process.kill('SIGSTOP')
    worker.frozen = true
    // Redis may be away just now.
    if (await isHolding(world, worker.pid).catch(() => false)) {
      history.write({ type: 'frozen', what: 'worker', pid: `${worker.pid}` })
      return worker
    }
    worker.process.kill('SIGCONT')
    worker.frozen = false
    await sleep(50)
  }
  return undefined
}

const searchMs = 5000

async function thawLater(world: World, worker: Worker): Promise<void> {
  await sleep(frozenLeases * world.leaseMs)
  const known = await workersKnown(world).catch(() => undefined)
  const declaredDead = known !== undefined && !known.has(worker.pid)
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
