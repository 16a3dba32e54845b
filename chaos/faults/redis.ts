import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../../test/support/until.ts'
import { between } from '../random.ts'
import type { Random } from '../random.ts'
import type { BehindProxy } from '../server.ts'
import type { Fault, World } from '../world.ts'

/** Faults of the Redis server. */

/** A fault that only a single server knows. */
function ofSingle(inject: (server: BehindProxy, world: World, dice: Random) => Promise<string | undefined>): Fault {
  return {
    lane: 'redis',
    servers: ['single'],
    inject: async (world, dice) => {
      const { server } = world
      return server.kind === 'single' ? inject(server, world, dice) : undefined
    },
  }
}

/** A master is killed, its replica takes its place, and the old master follows it. Replication may be behind: a loss. */
export const failOver: Fault = {
  lane: 'redis',
  servers: ['cluster', 'sentinel'],
  inject: async (world, dice) => {
    const { server } = world
    return server.kind === 'single' ? undefined : losing(world, () => server.failOver(dice))
  },
}

export const killRedis = ofSingle(async (server, world, dice) => {
  const restart = async () => {
    await server.kill()
    await sleep(between(dice, 0, 1000))
    await server.start()
  }
  if (server.persistence === 'always') await restart()
  else await losing(world, restart)
  return `with persistence ${server.persistence}`
})

/** Redis comes back with less than it acknowledged. */
export const truncateLog = ofSingle(async (server, world, dice) => {
  if (server.persistence === 'rdb') return undefined
  const ms = between(dice, 100, 2000)
  let bytes: number | undefined
  await losing(world, async () => {
    await server.kill()
    bytes = server.forgetLast(ms)
    await server.start()
  })
  return `the last ${Math.round(ms)} ms, ${bytes ?? 0} bytes`
})

export const flushAll: Fault = {
  lane: 'redis',
  inject: async world => {
    await losing(world, () => world.server.askAll('FLUSHALL'))
    return 'everything'
  },
}

export const flushScripts: Fault = {
  lane: 'redis',
  inject: async ({ server }) => {
    await server.askAll('SCRIPT', 'FLUSH')
    return 'all scripts'
  },
}

export const killSubscriptions = killClients('pubsub')
export const killConnections = killClients('normal')

function killClients(type: 'pubsub' | 'normal'): Fault {
  return {
    lane: 'redis',
    inject: async ({ server }) => {
      const killed = (await server.askAll('CLIENT', 'KILL', 'TYPE', type)).reduce(
        (sum, count) => sum + Number(count),
        0,
      )
      return killed === 0 ? undefined : `${killed} clients`
    },
  }
}

export const pauseClients = ofSingle(async (server, _world, dice) => {
  const ms = Math.round(between(dice, 300, 2500))
  await server.ask('', 'CLIENT', 'PAUSE', String(ms), 'ALL')
  await sleep(ms)
  return `${ms} ms`
})

export const blockRedis = ofSingle(async (server, _world, dice) => {
  const seconds = between(dice, 0.3, 2.5).toFixed(1)
  await server.ask('', 'DEBUG', 'SLEEP', seconds)
  return `${seconds} s`
})

/** Redis is killed, and says LOADING for a while. */
export const slowLoading = ofSingle(async (server, world, dice) => {
  const mostMs = between(dice, 1000, 3000)
  let tookMs = 0
  const restart = async () => {
    await server.kill()
    const begun = performance.now()
    const lift = async () => {
      await sleep(mostMs)
      // On a busy machine it may not listen yet.
      await until(() => server.ask('', 'CONFIG', 'SET', 'key-load-delay', '0'), { what: 'Redis loads quickly' })
    }
    await Promise.all([
      lift(),
      server.start({ 'key-load-delay': '2000', 'loading-process-events-interval-bytes': '1024' }),
    ])
    tookMs = performance.now() - begun
  }
  if (server.persistence === 'always') await restart()
  else await losing(world, restart)
  return `${Math.round(tookMs)} ms`
})

/** Refuses submits, and nothing else. */
export const fillMemory = ofSingle(async (server, _world, dice) => {
  const before = await refusals(server)
  await server.ask('', 'CONFIG', 'SET', 'maxmemory', '1mb')
  await sleep(between(dice, 1000, 3000))
  const refused = (await refusals(server)) - before
  await server.ask('', 'CONFIG', 'SET', 'maxmemory', '0')
  return refused === 0 ? undefined : `${refused} calls were refused`
})

async function refusals(server: BehindProxy): Promise<number> {
  const match = /errorstat_OOM:count=(\d+)/.exec(await server.ask('', 'INFO', 'errorstats'))
  return Number(match?.[1] ?? 0)
}

/** Around whatever may take Redis back to an earlier state: what was committed in between counts for neither history. */
async function losing<T>(world: World, act: () => Promise<T>): Promise<T> {
  world.history.write({ type: 'history', state: 'ends' })
  try {
    return await act()
  } finally {
    world.history.write({ type: 'history', state: 'begins' })
  }
}
