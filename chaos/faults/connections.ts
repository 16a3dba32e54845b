import { setTimeout as sleep } from 'node:timers/promises'
import { between, wholeBetween } from '../random.ts'
import type { Fault, World } from '../world.ts'

/** Faults of the connections between Millrace and Redis, made by the proxy. */

export const cutConnections: Fault = {
  lane: 'redis',
  servers: ['single'],
  inject: async ({ proxy }, dice) => {
    let cut = 0
    for (let round = 0; round < 3; round++) {
      cut += proxy.cut(() => dice() < 0.4)
      await sleep(between(dice, 100, 400))
    }
    return cut === 0 ? undefined : `${cut} connections`
  },
}

/** Commands are run, and nobody hears of it; then the connections break. */
export const dropReplies: Fault = {
  lane: 'redis',
  servers: ['single'],
  inject: async ({ proxy }, dice) => {
    const before = proxy.counts.swallowedBytes
    proxy.setMode({ kind: 'swallow replies' })
    await sleep(between(dice, 100, 800))
    proxy.setMode({ kind: 'pass' })
    const cut = proxy.cut()
    return `${proxy.counts.swallowedBytes - before} bytes of replies, ${cut} connections`
  },
}

const halfOpenMs = 20_000

/** Connections that look alive and carry nothing. Millrace must notice by itself; what is left in the end is cut. */
export const halfOpen: Fault = {
  lane: 'redis',
  servers: ['single'],
  inject: async (world, dice) => {
    const { proxy, background } = world
    const share = between(dice, 0.2, 0.6)
    const chosen = proxy.setModeOf({ kind: 'swallow' }, () => dice() < share)
    if (chosen === 0) return undefined
    background(endHalfOpen(world))
    return `${chosen} connections`
  },
}

async function endHalfOpen({ proxy }: World): Promise<void> {
  const deadline = performance.now() + halfOpenMs
  while (performance.now() < deadline && proxy.silent > 0) await sleep(100)
  proxy.cutSilent()
}

export const slowConnections: Fault = {
  lane: 'redis',
  servers: ['single'],
  inject: async ({ proxy }, dice) => {
    const ms = wholeBetween(dice, 20, 150)
    proxy.setMode({ kind: 'delay', ms })
    await sleep(between(dice, 1000, 3000))
    proxy.setMode({ kind: 'pass' })
    return `${ms} ms each way`
  },
}

export const sliceConnections: Fault = {
  lane: 'redis',
  servers: ['single'],
  inject: async ({ proxy }, dice) => {
    const bytes = wholeBetween(dice, 1, 7)
    proxy.setMode({ kind: 'slice', bytes })
    await sleep(between(dice, 500, 1500))
    proxy.setMode({ kind: 'pass' })
    return `packets of ${bytes} bytes`
  },
}
