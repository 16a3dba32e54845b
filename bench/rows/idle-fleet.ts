import { setTimeout as sleep } from 'node:timers/promises'
import { checkValue } from '../core/check.ts'
import { watchCommands } from '../core/monitor.ts'
import type { SeenCommand } from '../core/monitor.ts'
import { preciseCpuSeconds } from '../core/process-cost.ts'
import { atMost, measured } from '../core/report.ts'
import { openFleet } from '../sides/millrace.ts'
import type { Fleet } from '../sides/millrace.ts'
import { noop } from '../work/tasks.ts'
import type { Row } from './row.ts'

/** Starting them is most of what this row takes. */
const sizes = { full: { processes: 4, threads: 50 }, quick: { processes: 2, threads: 10 } }
/** How long a thread blocks at a time (`worker/feed.ts`), less what timers and a busy machine may blur. */
const undisturbedSeconds = 3.9

/** Many threads that wait: what they cost, and how many of them one task disturbs. */
export const row: Row = {
  async run({ rounds, quick }) {
    const size = quick ? sizes.quick : sizes.full
    const threads = size.processes * size.threads
    const tasks = quick ? 10 : 100
    const idleMs = quick ? 2000 : 10_000
    const one = await lookAtOneThread(rounds, tasks, idleMs)
    const fleet = await openFleet(size.threads, size.processes)
    const idle: Idle[] = []
    const woken: number[] = []
    try {
      for (let round = 0; round < Math.min(rounds, 3); round++) {
        idle.push(await watchIdle(fleet, idleMs))
        const seen = await watchCommands(fleet.server, async () => {
          // Every thread is seen once before, and whoever was woken by the last task once after it.
          await sleep(4500)
          await runOneByOne(fleet, tasks)
          await sleep(500)
        })
        woken.push(wokenEarly(seen) / tasks)
      }
    } finally {
      await fleet.close()
    }
    const idleOf = (field: keyof Idle) => idle.map(each => each[field])
    const sides = [
      measured(
        'Redis CPU, % of a core',
        `${size.processes} workers × ${size.threads} threads that wait, over ${idleMs / 1000} s, by /proc/<pid>/task/*/schedstat`,
        idleOf('cpuPercent'),
      ),
      measured(
        'commands/s',
        'EVALSHA and BLMOVE of all of them meanwhile, by commandstats',
        idleOf('commandsPerSecond'),
      ),
      measured(
        'commands per task',
        'all that clients send for one mill.run() to a fleet of one thread, by MONITOR',
        one.sent,
      ),
      measured('threads woken per task', `waits of the ${threads} threads that ended before their time`, woken),
    ]
    return {
      title: `an idle fleet of ${threads} threads`,
      unit: '',
      sides,
      verdicts: [
        atMost('% of a core', sides[0]!.median, 1),
        atMost('commands per task', sides[2]!.median, 8),
        atMost('threads woken', sides[3]!.median, 1.05),
      ],
      notes: [
        'the bar counts what clients send; what scripts call inside Redis is marked in MONITOR and not counted',
        `commandstats for one task, with what scripts call: ${one.calls}`,
      ],
      numbers: idleNumbers(size, { commandsPerSecond: sides[1]!.median, cpuPercent: sides[0]!.median }, one.idle),
    }
  },
}

async function lookAtOneThread(
  rounds: number,
  tasks: number,
  idleMs: number,
): Promise<{ readonly idle: Idle; readonly sent: readonly number[]; readonly calls: string }> {
  const fleet = await openFleet(1)
  try {
    const idle = await watchIdle(fleet, idleMs)
    const sent: number[] = []
    for (let round = 0; round < rounds; round++)
      sent.push((await watchCommands(fleet.server, () => runOneByOne(fleet, tasks))).length / tasks)
    const before = await fleet.server.commandCalls()
    await runOneByOne(fleet, tasks)
    const after = await fleet.server.commandCalls()
    const calls = [...after]
      .map(([name, count]) => ({ name, perTask: (count - (before.get(name) ?? 0)) / tasks }))
      .filter(({ perTask }) => perTask >= 0.1)
      .sort((a, b) => b.perTask - a.perTask)
      .map(({ name, perTask }) => `${perTask.toFixed(1)} ${name}`)
      .join(', ')
    return { idle, sent, calls }
  } finally {
    await fleet.close()
  }
}

interface Idle {
  readonly cpuPercent: number
  readonly commandsPerSecond: number
}

/** What a worker sends beside its threads follows from a fleet of few threads a worker and one of many. */
function idleNumbers(
  { processes, threads }: { readonly processes: number; readonly threads: number },
  many: Idle,
  one: Idle,
): Record<string, number> {
  const perThread = (many.commandsPerSecond - processes * one.commandsPerSecond) / (processes * threads - processes)
  return {
    'idle commands/s per thread': perThread,
    'idle commands/s per worker, beside its threads': one.commandsPerSecond - perThread,
    'Redis µs per idle command': (many.cpuPercent * 1e4) / many.commandsPerSecond,
  }
}

async function watchIdle({ server }: Fleet, ms: number): Promise<Idle> {
  const commands = async () => {
    const calls = await server.commandCalls()
    return (calls.get('evalsha') ?? 0) + (calls.get('blmove') ?? 0)
  }
  const [cpuBefore, commandsBefore, started] = [preciseCpuSeconds(server.pid), await commands(), performance.now()]
  await sleep(ms)
  const seconds = (performance.now() - started) / 1000
  return {
    cpuPercent: ((preciseCpuSeconds(server.pid) - cpuBefore) / seconds) * 100,
    commandsPerSecond: ((await commands()) - commandsBefore) / seconds,
  }
}

/** Each into a fleet that waits. */
async function runOneByOne({ mill }: Fleet, tasks: number): Promise<void> {
  for (let input = 0; input < tasks; input++) {
    checkValue('Millrace', await mill.run(noop, input), input)
    await sleep(10)
  }
}

/** How many waits were ended by something else than their time: the same client blocks again too soon. */
function wokenEarly(seen: readonly SeenCommand[]): number {
  const blockedAt = new Map<string, number>()
  let early = 0
  for (const { client, name, seconds } of seen) {
    if (name.toLowerCase() !== 'blmove') continue
    const before = blockedAt.get(client)
    if (before !== undefined && seconds - before < undisturbedSeconds) early++
    blockedAt.set(client, seconds)
  }
  return early
}
