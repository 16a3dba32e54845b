import { availableParallelism } from 'node:os'
import { Command } from 'commander'
import { findTaskFile } from '../../code/task-file.ts'
import { TaskModuleError, UsageError } from '../../errors.ts'
import type { ProcessEnd } from '../../protocol/evidence.ts'
import type { Log } from '../../runtime/log.ts'
import { checkServers } from '../../store/inspect/server.ts'
import { noteProcessEnd } from '../../store/note-end.ts'
import { redisTarget } from '../../store/target.ts'
import { resolveWorkerOptions } from '../../worker/options.ts'
import { startWorkerOn } from '../../worker/start-worker.ts'
import { startPlainWorker, type PlainWorkerOptions } from '../../worker/plain/index.ts'
import { demoTasksUrl } from '../demo/tasks-url.ts'
import { exitCodes } from '../exit-codes.ts'
import { findKeeper } from '../keeper.ts'
import type { Keeper } from '../keeper.ts'
import { keepProcess } from '../kept-process.ts'
import { wholeNumber, withRedis, type RedisFlags } from '../options.ts'
import { withLanes, withRedisServer, type FoundRedis } from '../redis.ts'
import { stoppable } from '../signals.ts'
import { plural } from '../words.ts'

interface WorkerFlags extends RedisFlags {
  readonly threads: number
  readonly leaseMs?: number
  readonly heapMb?: number
  readonly rssMb?: number
  readonly maxDeaths?: number
  readonly demo?: boolean
  readonly restart: boolean
  readonly plainTask?: string
  readonly plainList?: string
  readonly plainResults?: string
  readonly plainChannel?: string
}

/** A worker of either kind. */
interface Started {
  readonly id: string
  /** What it does, for its first line. */
  readonly work: string
  drain(): Promise<void>
  /** Settles when the worker ends without being told to. */
  readonly closed: Promise<void>
}

/** `millrace worker`: a process that takes part in the work until it is told to stop. */
export function workerCommand(end: (exitCode: number) => void): Command {
  const command = new Command('worker')
    .summary('run tasks of a task module until told to stop')
    .description(
      'Run the tasks of a task module until SIGTERM or Ctrl-C; then finish what runs within 25 s, hand back the rest and exit with 0.',
    )
    .argument('[tasks]', 'the task module, such as tasks.ts')
    .option('--threads <n>', 'threads that run tasks', wholeNumber(1, 1024), availableParallelism())
    .option(
      '--lease-ms <ms>',
      'how long it may be silent before its tasks are given to others (default: 6000)',
      wholeNumber(1000, 3_600_000),
    )
    .option(
      '--heap-mb <mb>',
      "heap of each thread; a task that needs more ends its thread (default: Node's own limit)",
      wholeNumber(16, 1_000_000),
    )
    .option(
      '--rss-mb <mb>',
      'memory of the process at which it hands back its work and ends, for what heaps do not cover (default: none)',
      wholeNumber(64, 1_000_000_000),
    )
    .option(
      '--max-deaths <n>',
      'how often a task may take its thread or process down before it is set aside (default: 3)',
      wholeNumber(1, 1000),
    )
    .option('--demo', 'run the tasks of millrace demo instead of a module of yours')
    .option(
      '--no-restart',
      'be one process, which ends with whatever a task does to it; by default a second one starts it again and sees how it ended',
    )
  withRedis(command)
  command
    .optionsGroup('Plain-Redis mode (strings from a List, results into a Hash):')
    .option('--plain-task <name>', 'task that is given each string')
    .option('--plain-list <key>', 'List that strings are taken from')
    .option('--plain-results <key>', 'Hash that results are written into')
    .option('--plain-channel <name>', 'channel whose messages are run by every worker')
  return command.action(async (tasks: string | undefined, flags: WorkerFlags) => {
    const file = await taskFile(tasks, flags)
    const plain = plainOptions(flags)
    if (plain !== undefined) refuseIdleFlags(command)
    const keeper = findKeeper()
    end(
      await withRedisServer(flags, found => {
        if (flags.restart && keeper === undefined) return keep(flags, found)
        return (keeper?.stoppable ?? stoppable)(signal => work(file, { flags, plain, found, signal, keeper }))
      }),
    )
  })
}

function keep(flags: WorkerFlags, found: FoundRedis): Promise<number> {
  const onEnd = (launch: string, end: ProcessEnd) =>
    withLanes(found, flags, lanes => noteProcessEnd(lanes, launch, end)).catch(() => undefined)
  return keepProcess({ args: process.argv.slice(2), onEnd, say })
}

interface Work {
  readonly flags: WorkerFlags
  readonly plain: PlainFlags | undefined
  readonly found: FoundRedis
  readonly signal: AbortSignal
  readonly keeper: Keeper | undefined
}

async function work(file: string, { flags, plain, found, signal, keeper }: Work): Promise<number> {
  // Said at once, in full, and before anything is compiled.
  await withLanes(found, flags, lanes => lanes.withServers(servers => checkServers(servers, lanes.target.kind)))
  const worker = await (plain === undefined
    ? start(file, flags, found, keeper?.launch)
    : startPlain(file, flags, plain, found))
  keeper?.ready()
  say(`ready: worker ${worker.id} · ${plural(flags.threads, 'thread')} · ${worker.work} · ${found.where}`)
  await Promise.race([aborted(signal), worker.closed])
  if (signal.aborted) say(`draining: worker ${worker.id} takes no more tasks and finishes those that run`)
  await worker.drain()
  say(`drained: worker ${worker.id}`)
  return exitCodes.done
}

async function start(
  file: string,
  { threads, namespace, queue, leaseMs, heapMb, rssMb, maxDeaths }: WorkerFlags,
  { redis }: FoundRedis,
  launch: string | undefined,
): Promise<Started> {
  const options = resolveWorkerOptions({
    threads,
    namespace,
    queue,
    ...(leaseMs === undefined ? {} : { leaseMs }),
    ...(heapMb === undefined ? {} : { heapMb }),
    ...(rssMb === undefined ? {} : { rssMb }),
    ...(maxDeaths === undefined ? {} : { maxDeaths }),
    log,
  })
  const worker = await startWorkerOn(redisTarget(redis), file, options, launch)
  const { id, tasks, hash, closed } = worker
  closed.catch((error: unknown) => {
    log.warn(error instanceof Error ? error.message : String(error))
    // It had to give up, and handed back what it held. An exit would wait for a thread that can't be stopped.
    process.kill(process.pid, 'SIGKILL')
  })
  const names = tasks.length > 8 ? `${tasks.slice(0, 8).join(', ')} and ${tasks.length - 8} more` : tasks.join(', ')
  return {
    id,
    closed,
    drain: () => worker.drain(),
    work: `${tasks.length === 1 ? 'task' : 'tasks'} ${names} · code ${hash.slice(0, 8)}`,
  }
}

async function startPlain(
  file: string,
  { threads, leaseMs, maxDeaths }: WorkerFlags,
  plain: PlainFlags,
  { redis }: FoundRedis,
): Promise<Started> {
  const worker = await startPlainWorker({
    ...plain,
    tasks: file,
    redis,
    threads,
    ...(leaseMs === undefined ? {} : { leaseMs }),
    ...(maxDeaths === undefined ? {} : { maxDeaths }),
    log,
  })
  const { id } = worker
  return {
    id,
    closed: new Promise(() => undefined),
    drain: () => worker.drain(),
    work: `task ${plain.task} · List ${plain.list} → Hash ${plain.results}`,
  }
}

type PlainFlags = Pick<PlainWorkerOptions, 'task' | 'list' | 'results' | 'channel'>

function plainOptions({
  plainTask: task,
  plainList: list,
  plainResults: results,
  plainChannel: channel,
}: WorkerFlags): PlainFlags | undefined {
  if (task !== undefined && list !== undefined && results !== undefined) return { task, list, results, channel }
  if ((task ?? list ?? results ?? channel) === undefined) return undefined
  throw new UsageError(
    'Plain-Redis mode needs to know the task, the List and the Hash: give --plain-task, --plain-list and --plain-results together.',
  )
}

const onlyOfQueues: ReadonlySet<string> = new Set(['--heap-mb', '--rss-mb', '--namespace', '--queue'])

/** What is said of limits that would not hold, or of a fleet that would not be joined, must not pass for agreed. */
function refuseIdleFlags(command: Command): void {
  const idle = command.options.filter(
    option => onlyOfQueues.has(option.long ?? '') && command.getOptionValueSource(option.attributeName()) === 'cli',
  )
  if (idle.length === 0) return
  throw new UsageError(
    `Plain-Redis mode has no ${idle.map(({ long }) => long).join(' and ')}: its keys have the names that you give, and its threads and process no limits of memory. Leave it out.`,
  )
}

async function taskFile(tasks: string | undefined, { demo }: WorkerFlags): Promise<string> {
  if ((tasks === undefined) !== (demo === true)) {
    throw new UsageError(
      'A worker needs one task module to know what to run: give the path of yours, as in millrace worker tasks.ts, or --demo.',
    )
  }
  try {
    return await findTaskFile(tasks ?? demoTasksUrl())
  } catch (error) {
    throw error instanceof TaskModuleError ? new UsageError(error.message) : error
  }
}

const log: Log = { info: say, warn: say }

function say(line: string): void {
  // Whoever keeps this process is gone, and with it who reads its stderr.
  if (process.send !== undefined && !process.connected) return
  process.stderr.write(`${line}\n`)
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => {
      resolve()
    })
  })
}
