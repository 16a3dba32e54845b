import { checkValue } from '../core/check.ts'
import { preciseCpuSeconds } from '../core/process-cost.ts'
import { atMost, measured } from '../core/report.ts'
import type { Server } from '../core/redis-server.ts'
import { openFleet } from '../sides/millrace.ts'
import type { Fleet } from '../sides/millrace.ts'
import { noop } from '../work/tasks.ts'
import type { Row } from './row.ts'

const threads = 200

/** Many threads that wait: what they cost, and how many of them one task disturbs. */
export const row: Row = {
  async run({ rounds, quick }) {
    const fleet = await openFleet(threads)
    try {
      // Waits until all of them have asked once, and what starting cost is over.
      for (let settled = 0; settled < 3; ) settled = (await idleRate(fleet, 1000)).blockingCalls > 0 ? settled + 1 : 0
      const cpu: number[] = []
      const commands: number[] = []
      const woken: number[] = []
      for (let round = 0; round < rounds; round++) {
        const idle = await idleRate(fleet, quick ? 2000 : 10_000)
        cpu.push(idle.cpuPercent)
        const tasks = await perTask(fleet, idle, quick ? 20 : 100)
        commands.push(tasks.commands)
        woken.push(tasks.woken)
      }
      return {
        title: `an idle fleet of ${threads} threads`,
        unit: '',
        sides: [
          measured('Redis CPU, % of a core', 'by /proc/<pid>/task/*/schedstat, nothing submitted', cpu),
          measured('commands per task', 'what clients send for one mill.run(), less the idle fleet’s own', commands),
          measured('threads woken per task', 'BLMOVE calls per task, less the idle fleet’s: a thread that was woken blocks anew', woken),
        ],
        verdicts: [
          atMost('% of a core', median(cpu), 1),
          atMost('commands per task', median(commands), 8),
          atMost('threads woken', median(woken), 1.5),
        ],
        notes: [
          'commands that scripts call inside Redis are not counted: MONITOR marks them, and only lines from clients count',
        ],
      }
    } finally {
      await fleet.close()
    }
  },
}

function median(values: readonly number[]): number {
  return measured('', '', values).median
}

interface IdleRate {
  readonly cpuPercent: number
  readonly commandsPerMs: number
  readonly blockingPerMs: number
  readonly blockingCalls: number
}

async function idleRate({ server }: Fleet, ms: number): Promise<IdleRate> {
  const cpu = preciseCpuSeconds(server.pid)
  const before = await server.commandCalls()
  const started = performance.now()
  await new Promise(resolve => setTimeout(resolve, ms))
  const elapsedMs = performance.now() - started
  const cpuPercent = ((preciseCpuSeconds(server.pid) - cpu) / (elapsedMs / 1000)) * 100
  const blockingCalls = callsOf(await server.commandCalls(), 'blmove') - callsOf(before, 'blmove')
  const { commands } = await watch(server, () => new Promise(resolve => setTimeout(resolve, ms / 2)))
  return { cpuPercent, commandsPerMs: commands / (ms / 2), blockingPerMs: blockingCalls / elapsedMs, blockingCalls }
}

/** Tasks one at a time, each into a fleet that waits. */
async function perTask({ server, mill }: Fleet, idle: IdleRate, tasks: number) {
  const before = await server.commandCalls()
  const started = performance.now()
  const { commands } = await watch(server, async () => {
    for (let input = 0; input < tasks; input++) checkValue('Millrace', await mill.run(noop, input), input)
  })
  const elapsedMs = performance.now() - started
  const blocking = callsOf(await server.commandCalls(), 'blmove') - callsOf(before, 'blmove')
  return {
    commands: (commands - idle.commandsPerMs * elapsedMs) / tasks,
    woken: (blocking - idle.blockingPerMs * elapsedMs) / tasks,
  }
}

/** How many commands clients send while something happens. */
async function watch(server: Server, during: () => Promise<unknown>): Promise<{ readonly commands: number }> {
  const monitor = await server.connect().monitor()
  let commands = 0
  monitor.on('monitor', (_time: string, _args: string[], source: string) => {
    if (source !== 'lua') commands++
  })
  await during()
  // What was sent for the last one may still be on its way.
  await new Promise(resolve => setTimeout(resolve, 50))
  monitor.disconnect()
  return { commands }
}

function callsOf(calls: ReadonlyMap<string, number>, command: string): number {
  return calls.get(command) ?? 0
}
