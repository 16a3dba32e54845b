import { laneLimit, predictRate } from '../core/model.ts'
import type { BenchRun } from '../core/outcome.ts'
import type { Cost, RowReport } from '../core/report.ts'
import { round } from '../core/table.ts'
import { threads as cores } from '../rows/row.ts'

/** The measured parts of docs/scaling.md, by the name of the place where they go; those that the run can say something about. */
export function scalingTables(run: BenchRun): ReadonlyMap<string, string> {
  const costs = reportOf(run, 'scaling')?.costs ?? []
  const idle = reportOf(run, 'idle-fleet')
  const lanes = reportOf(run, 'lanes')
  const tables = new Map<string, string>()
  if (costs.length > 0) {
    tables.set('costs', costTable(costs, run.machine.date))
    tables.set('limits', limitTable(costs))
    tables.set('checks', checkTable(costs))
    tables.set('fleet', fleetTable(costs, idle))
  }
  if (lanes !== undefined) tables.set('lanes', lanesTable(lanes))
  return tables
}

function reportOf(run: BenchRun, name: string): RowReport | undefined {
  const outcome = run.outcomes.find(each => each.name === name)
  return outcome !== undefined && 'report' in outcome ? outcome.report : undefined
}

/** Puts each text between `<!-- measured: NAME -->` and the next `<!-- end -->`. */
export function fillIn(page: string, tables: ReadonlyMap<string, string>): string {
  return page.replaceAll(
    /(<!-- measured: (\S+) -->\n)[\s\S]*?(<!-- end -->)/g,
    (all, begin: string, name: string, end: string) => {
      const table = tables.get(name)
      return table === undefined ? all : `${begin}${table}\n${end}`
    },
  )
}

function costTable(costs: readonly Cost[], date: string): string {
  return table(
    [`work in a task (${date.slice(0, 10)})`, 'threads', 'driver, µs', 'Redis, µs', 'worker, µs', 'tasks/s'],
    costs.map(cost => [
      sizeOf(cost),
      String(cost.threads),
      round(cost.driverUs),
      round(cost.redisUs),
      round(cost.workerUs),
      round(cost.tasksPerSecond),
    ]),
  )
}

function limitTable(costs: readonly Cost[]): string {
  return table(
    [
      'work in a task',
      'Redis is busy at, tasks/s a lane',
      'and feeds, busy threads a lane',
      'the driver is busy at, tasks/s',
    ],
    withThreads(costs, 2).map(cost => {
      const limit = laneLimit(cost)
      return [sizeOf(cost), round(limit.tasksPerSecond), round(limit.threads), round(1e6 / cost.driverUs)]
    }),
  )
}

/** What one thread's costs say about two, and what two did. */
function checkTable(costs: readonly Cost[]): string {
  return table(
    ['work in a task', 'threads', 'predicted, tasks/s', 'measured, tasks/s', 'measured ÷ predicted'],
    withThreads(costs, 1).flatMap(one =>
      costs
        .filter(({ workUs }) => workUs === one.workUs)
        .map(({ threads, tasksPerSecond }) => {
          const predicted = predictRate(one, { threads, cores })
          return [
            sizeOf(one),
            String(threads),
            round(predicted),
            round(tasksPerSecond),
            round(tasksPerSecond / predicted),
          ]
        }),
    ),
  )
}

const machines = 1000
const threadsEach = 8

function fleetTable(costs: readonly Cost[], idle: RowReport | undefined): string {
  const threads = machines * threadsEach
  const perThread = idle?.numbers?.['idle commands/s per thread']
  const perWorker = idle?.numbers?.['idle commands/s per worker, beside its threads']
  const commandUs = idle?.numbers?.['Redis µs per idle command']
  const rows: string[][] = []
  if (perThread !== undefined && perWorker !== undefined && commandUs !== undefined) {
    const perSecond = perThread * threads + perWorker * machines
    rows.push(
      ['idle: commands/s of one worker beside its threads', round(perWorker)],
      ['idle: commands/s of one thread', round(perThread)],
      ['idle: commands/s of all on one lane', round(perSecond)],
      ['idle: share of the lane’s core', `${round((perSecond * commandUs) / 1e4)} %`],
    )
  }
  for (const cost of withThreads(costs, 2)) {
    const limit = laneLimit(cost)
    rows.push(
      [`busy, ${sizeOf(cost)} of work in a task: lanes for all threads`, round(Math.ceil(threads / limit.threads))],
      [`… and drivers`, round(Math.ceil((threads * cost.driverUs) / cost.workerUs))],
    )
  }
  return table([`${machines} machines × ${threadsEach} threads`, 'predicted'], rows)
}

function lanesTable(report: RowReport): string {
  return table(
    ['lanes', `measured, ${report.unit}`],
    report.sides.map(({ side, median, min, max }) => [side, `${round(median)} (${round(min)} – ${round(max)})`]),
  )
}

function withThreads(costs: readonly Cost[], threads: number): Cost[] {
  return costs.filter(cost => cost.threads === threads)
}

function sizeOf({ workUs }: Cost): string {
  if (workUs === 0) return 'no-op'
  return workUs >= 1000 ? `${workUs / 1000} ms` : `${workUs} µs`
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map(cells => `| ${cells.join(' | ')} |`).join('\n')
}
