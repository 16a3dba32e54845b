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
const fleetThreads = { full: 200, quick: 40 }
/** How long a thread blocks before it looks around (`worker/feed.ts`), less what timers and a busy machine may blur. */
const undisturbedSeconds = 1.9

/** Many threads that wait: what they cost, and how many of them one task disturbs. */
export const row: Row = {
  async run({ rounds, quick }) {
    const threads = quick ? fleetThreads.quick : fleetThreads.full
    const tasks = quick ? 20 : 100
    const commands: number[] = []
    const cpu: number[] = []
    const woken: number[] = []
    const alone = await openFleet(1)
    try {
      for (let round = 0; round < rounds; round++) {
        commands.push((await watchCommands(alone.server, () => runOneByOne(alone, tasks))).length / tasks)
      }
    } finally {
      await alone.close()
    }
    const fleet = await openFleet(threads)
    try {
      for (let round = 0; round < rounds; round++) {
        cpu.push(await idleCpuPercent(fleet, quick ? 2000 : 10_000))
        const seen = await watchCommands(fleet.server, async () => {
          // Every thread is seen once before, and whoever was woken by the last task once after it.
          await sleep(2500)
          await runOneByOne(fleet, tasks)
          await sleep(500)
        })
        woken.push(wokenEarly(seen) / tasks)
      }
    } finally {
      await fleet.close()
    }
    const sides = [
      measured('Redis CPU, % of a core', `${threads} threads that wait, by /proc/<pid>/task/*/schedstat`, cpu),
      measured('commands per task', 'all that clients send for one mill.run() to a fleet of one thread', commands),
      measured('threads woken per task', `waits of the ${threads} threads that ended before their time`, woken),
    ]
    return {
      title: `an idle fleet of ${threads} threads`,
      unit: '',
      sides,
      verdicts: [
        atMost('% of a core', sides[0]!.median, 1),
        atMost('commands per task', sides[1]!.median, 8),
        atMost('threads woken', sides[2]!.median, 1.05),
      ],
      notes: ['commands that scripts call inside Redis are not counted: MONITOR marks them'],
    }
  },
}

async function idleCpuPercent({ server }: Fleet, ms: number): Promise<number> {
  const before = preciseCpuSeconds(server.pid)
  const started = performance.now()
  await sleep(ms)
  return ((preciseCpuSeconds(server.pid) - before) / ((performance.now() - started) / 1000)) * 100
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
