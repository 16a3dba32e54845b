import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { spawnNode } from '../test/support/process.ts'
import type { NodeProcess } from '../test/support/process.ts'
import { until } from '../test/support/until.ts'
import type { Event } from './events.ts'
import { readHistory } from './history.ts'
import type { History } from './history.ts'
import { leftJobs } from './left-jobs.ts'
import type { DriverSettings, LeftJob } from './processes/settings.ts'
import type { Random } from './random.ts'
import { Stuck } from './stuck.ts'

const driverFile = fileURLToPath(new URL('./processes/driver.ts', import.meta.url))

interface Driver {
  readonly pid: number
  readonly process: NodeProcess
  /** The harness killed it. */
  killed: boolean
}

/** The drivers of a run, one after the other: when one is gone, another goes on with its jobs. */
export class Drivers {
  readonly #settings: Omit<DriverSettings, 'left' | 'name'>
  readonly #history: History
  readonly #all: Driver[] = []
  /** Ends of drivers that nobody asked for, and what waited in vain, in words. */
  readonly surprises: string[] = []

  constructor(settings: Omit<DriverSettings, 'left' | 'name'>, history: History) {
    this.#settings = settings
    this.#history = history
  }

  /** The one that has the jobs now. */
  get pid(): number {
    return this.#current.pid
  }

  async start(left: readonly LeftJob[] = []): Promise<Driver> {
    const number = this.#all.length + 1
    const settings = { ...this.#settings, seed: this.#settings.seed + 100 * number, name: `d${number}`, left }
    const child = spawnNode(['--import', 'tsx', driverFile, JSON.stringify(settings)])
    const driver = { pid: child.pid, process: child, killed: false }
    this.#all.push(driver)
    await child.waitForLine(/^ready/, 60_000)
    return driver
  }

  /** Kills the driver, and starts another one that goes on. Resolves with what was left. */
  async replace(dice: Random): Promise<readonly LeftJob[]> {
    const driver = this.#current
    driver.killed = true
    this.#history.write({ type: 'killed', what: 'driver', pid: `${driver.pid}` })
    driver.process.kill('SIGKILL')
    await driver.process.exited
    const left = leftJobs(this.#events(), dice)
    await this.start(left)
    return left
  }

  /** Freezes the driver, lets another one take its jobs, and has it wake up then. Resolves with what was taken. */
  async freeze(dice: Random): Promise<readonly LeftJob[]> {
    const driver = this.#current
    this.#history.write({ type: 'frozen', what: 'driver', pid: `${driver.pid}` })
    driver.process.kill('SIGSTOP')
    const left = leftJobs(this.#events(), dice).map(job => ({ ...job, by: 'attach' as const }))
    try {
      const successor = await this.start(left)
      await until(() => settledOrAttached(this.#eventsOf(successor), left), {
        what: 'the new driver has attached to all jobs of the frozen one',
        timeoutMs: 60_000,
        everyMs: 100,
      })
    } finally {
      // Waits until it runs again: then it begins nothing new.
      driver.process.kill('SIGUSR2')
      this.#history.write({ type: 'thawed', what: 'driver', pid: `${driver.pid}`, declaredDead: false })
      driver.process.kill('SIGCONT')
    }
    return left
  }

  /** All see through what they began, and end. They are given up when nothing has happened any more for `idleMs`. */
  async stop(idleMs: number): Promise<void> {
    const running = this.#all.filter(({ killed }) => !killed)
    for (const { process } of running) process.kill('SIGUSR2')
    const stuck = new Stuck(this.#settings.history, idleMs)
    for (const { pid, process } of running) {
      const exit = await Promise.race([process.exited, stuck.since])
      const said = [...process.stdout.slice(-8), ...process.stderr.slice(-5)].join(' | ')
      if (typeof exit === 'string') this.surprises.push(`driver ${pid} had not ended ${exit}: ${said}`)
      else if (exit.code !== 0)
        this.surprises.push(`driver ${pid} ended with ${String(exit.code ?? exit.signal)}: ${said}`)
    }
    stuck.stop()
  }

  killAll(): void {
    for (const { process } of this.#all) process.kill('SIGKILL')
  }

  get #current(): Driver {
    const driver = this.#all.at(-1)
    if (driver === undefined) throw new Error('there is no driver yet')
    return driver
  }

  #events(): Event[] {
    return this.#all.flatMap(driver => this.#eventsOf(driver)).sort((a, b) => a.at - b.at)
  }

  #eventsOf({ pid }: Driver): Event[] {
    return readHistory(join(this.#settings.history, `${pid}.jsonl`))
  }
}

function settledOrAttached(events: readonly Event[], left: readonly LeftJob[]): boolean {
  const known = new Set(
    events.flatMap(event => (event.type === 'attached' || event.type === 'ended' ? [event.job] : [])),
  )
  return left.every(({ job }) => known.has(job))
}
