import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { World } from './world.ts'

/** How much memory the system takes, and how many keys there are, over the time of a run. */
export interface Sample {
  readonly atMs: number
  readonly workerPid: number | undefined
  readonly workerMb: number
  readonly driverPid: number
  readonly driverMb: number
  /** Of all servers that take writes. */
  readonly redisMb: number
  readonly keys: number
}

export interface Trend {
  readonly first: number
  readonly last: number
  readonly most: number
}

const mib = 1024 * 1024

/** Measures until the run is over. Where something can't be asked just now, that sample is left out. */
export class Sampler {
  readonly samples: Sample[] = []
  readonly #begun = performance.now()
  readonly #timer: NodeJS.Timeout | undefined

  constructor(world: World, everySeconds: number, say: (line: string) => void) {
    if (everySeconds === 0) return
    this.#timer = setInterval(() => {
      this.#sample(world).then(
        sample => {
          this.samples.push(sample)
          say(sampleText(sample))
        },
        () => undefined,
      )
    }, everySeconds * 1000)
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  async #sample({ fleet, drivers, server }: World): Promise<Sample> {
    const workerPid = fleet.oldest
    const driverPid = drivers.pid
    const [workerMb, driverMb, memory, keys] = await Promise.all([
      workerPid === undefined ? 0 : residentMb(workerPid),
      residentMb(driverPid),
      server.askAll('INFO', 'memory'),
      server.askAll('DBSIZE'),
    ])
    return {
      atMs: Math.round(performance.now() - this.#begun),
      workerPid,
      workerMb,
      driverPid,
      driverMb,
      redisMb: sum(memory.map(text => Number(/used_memory:(\d+)/.exec(text)?.[1]) / mib)),
      keys: sum(keys.map(Number)),
    }
  }
}

/** Of the last worker and driver that were measured; a former one's numbers say nothing about theirs. */
export function trendsOf(samples: readonly Sample[]): Readonly<Record<string, Trend>> {
  const last = samples.at(-1)
  if (last === undefined) return {}
  return {
    'worker, MB': trend(
      samples.filter(({ workerPid }) => workerPid === last.workerPid).map(({ workerMb }) => workerMb),
    ),
    'driver, MB': trend(
      samples.filter(({ driverPid }) => driverPid === last.driverPid).map(({ driverMb }) => driverMb),
    ),
    'Redis, MB': trend(samples.map(({ redisMb }) => redisMb)),
    keys: trend(samples.map(({ keys }) => keys)),
  }
}

function trend(numbers: readonly number[]): Trend {
  const rounded = numbers.map(number => Math.round(number * 10) / 10)
  return { first: rounded[0] ?? 0, last: rounded.at(-1) ?? 0, most: Math.max(0, ...rounded) }
}

function sampleText({ workerMb, driverMb, redisMb, keys }: Sample): string {
  const mb = (number: number) => `${Math.round(number)} MB`
  return `memory: worker ${mb(workerMb)}, driver ${mb(driverMb)}, Redis ${redisMb.toFixed(1)} MB with ${keys} keys`
}

async function residentMb(pid: number): Promise<number> {
  const { stdout } = await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(pid)])
  return Number(stdout) / 1024
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
