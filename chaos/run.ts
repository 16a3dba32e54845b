import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../test/support/until.ts'
import { check } from './check/check.ts'
import { pickJobs } from './check/slices.ts'
import { tellStory } from './check/story.ts'
import type { Violation } from './check/violation.ts'
import { Drivers } from './drivers.ts'
import { faults } from './faults/index.ts'
import { Fleet } from './fleet.ts'
import { Sampler } from './memory.ts'
import { History, historyBytes, readHistories } from './history.ts'
import { excusesOf, findLeftovers, isSettling } from './leftovers.ts'
import type { Excuses } from './leftovers.ts'
import type { ChaosOptions } from './options.ts'
import { namesOf, planLane } from './plan.ts'
import { Proxy } from './proxy.ts'
import { seededRandom } from './random.ts'
import { makeReport } from './report.ts'
import type { Report } from './report.ts'
import { startServer } from './server.ts'
import type { Fault, World } from './world.ts'

/** The first faults meet a fleet that works. */
const warmUpMs = 1500
/** So much of the histories is judged at once; in memory it is several times as large. */
const sliceBytes = 384 * 1024 * 1024

/** One run: starts everything, injects faults, heals, drains, and reads the histories. `say` is told what happens. */
export async function runChaos(options: ChaosOptions, say: (line: string) => void): Promise<Report> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-chaos-'))
  const history = new History(folder, 'harness')
  const server = await startServer(options.server, options.persistence)
  const proxy = new Proxy(server.kind === 'single' ? server.socketPath : '')
  const common = {
    redis: server.kind === 'single' ? await proxy.listen() : server.url,
    namespace: 'chaos',
    tasks: new URL('./processes/tasks.ts', import.meta.url).href,
    history: folder,
  }
  const { leaseMs, workers, threads, seed, workloads, sampleSeconds } = options
  const fleet = new Fleet({ ...common, threads, leaseMs }, { size: workers, sparesOldest: sampleSeconds > 0 }, history)
  const burnMs = options.burnLeases * leaseMs
  const drivers = new Drivers({ ...common, seed, burnMs, burns: options.burns, workloads }, history)
  const background = new Set<Promise<void>>()
  const world: World = {
    server,
    proxy,
    fleet,
    drivers,
    history,
    namespace: common.namespace,
    leaseMs,
    background: work => {
      background.add(work)
    },
  }
  const surprises: string[] = []
  let sampler: Sampler | undefined
  try {
    await fleet.start()
    await drivers.start()
    await sleep(warmUpMs)
    say(`${workers} workers and a driver are up; faults for ${options.seconds} s`)
    const deadline = performance.now() + options.seconds * 1000
    sampler = new Sampler(world, sampleSeconds, say)
    const lanes = await Promise.all([
      injectLane('processes', options, world, deadline, surprises, say),
      injectLane('redis', options, world, deadline, surprises, say),
    ])
    // Without faults the workloads have the time to themselves.
    await sleep(Math.max(0, deadline - performance.now()))
    await Promise.all(background)
    sampler.stop()
    proxy.setMode({ kind: 'pass' })
    proxy.cutSilent()
    say('all is healed; the drivers see their jobs through')
    await drivers.stop(options.drainSeconds * 1000)
    const excuses = excusesOf(tellStory(readHistories(folder, pickJobs)))
    await endFleet(world, excuses)
    const leftovers = await findLeftovers(world, excuses)
    const violations = [...surprisesOf({ surprises }), ...surprisesOf(drivers), ...surprisesOf(fleet), ...leftovers]
    return makeReport(options, {
      folder,
      injected: lanes.flat(),
      verdict: check(pick => readHistories(folder, pick), {
        leaseMs,
        slices: Math.max(1, Math.ceil(historyBytes(folder) / sliceBytes)),
      }),
      violations,
      samples: sampler.samples,
    })
  } finally {
    sampler?.stop()
    drivers.killAll()
    fleet.killAll()
    await proxy.close()
    await server.stop()
  }
}

/** What came of one planned fault. */
export interface Injected {
  readonly fault: string
  readonly atMs: number
  readonly tookMs: number
  /** Undefined when it could not be done. */
  readonly note: string | undefined
}

/** One fault after the other until the time is over, and at least each once. */
async function injectLane(
  lane: Fault['lane'],
  { faults: names, seed }: ChaosOptions,
  world: World,
  deadline: number,
  surprises: string[],
  say: (line: string) => void,
): Promise<Injected[]> {
  const injected: Injected[] = []
  const begun = performance.now()
  const owed = new Set<string>(namesOf(lane, names))
  // For what could not be done in time.
  const mostTries = 2 + 3 * owed.size
  let tries = 0
  for (const { fault, pauseMs, seed: own } of planLane(lane, names, seed)) {
    if (performance.now() > deadline) {
      if (owed.size === 0 || tries >= mostTries) break
      if (!owed.has(fault)) continue
      tries++
    }
    await sleep(pauseMs)
    const from = performance.now()
    world.history.write({ type: 'fault', fault, state: 'begins' })
    const note = await faults[fault].inject(world, seededRandom(own)).catch((error: unknown) => {
      surprises.push(`the fault ${fault} failed: ${error instanceof Error ? error.message : String(error)}`)
      return undefined
    })
    world.history.write({ type: 'fault', fault, state: 'ends', ...(note === undefined ? {} : { note }) })
    if (note !== undefined) owed.delete(fault)
    injected.push({ fault, atMs: Math.round(from - begun), tookMs: Math.round(performance.now() - from), note })
    say(
      `${(from - begun) / 1000 < 10 ? ' ' : ''}${((from - begun) / 1000).toFixed(1)} s  ${fault}  ${note ?? 'could not be done'}`,
    )
  }
  return injected
}

async function endFleet(world: World, excuses: Excuses): Promise<void> {
  // A dead worker's records are deleted a lease after it was declared dead, and the janitor comes every few seconds.
  // A job that has lost tasks is parked once its driver's lease has lapsed. What is left after that shows in what is left in the end.
  await until(async () => !(await isSettling(world, excuses)), {
    what: 'nothing of ended work is left',
    timeoutMs: 40_000 + 4 * world.leaseMs,
    everyMs: 200,
  }).catch(() => undefined)
  await world.fleet.stop()
}

function surprisesOf({ surprises }: { readonly surprises: readonly string[] }): Violation[] {
  return surprises.map(what => ({ rule: 'process', what, events: [] }))
}
