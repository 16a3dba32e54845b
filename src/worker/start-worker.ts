import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { bundleTasks } from '../code/bundle.ts'
import { writeBundle } from '../code/write-bundle.ts'
import { RedisUnreachableError, UsageError } from '../errors.ts'
import { endProcess } from '../runtime/end-process.ts'
import { silentLog, sparingLog } from '../runtime/log.ts'
import type { Log } from '../runtime/log.ts'
import type { Client } from '../store/client.ts'
import { openClient } from '../store/client.ts'
import { Lanes } from '../store/lanes.ts'
import { describeTarget, portableTarget, redisTarget, unreachable } from '../store/target.ts'
import type { RedisTarget } from '../store/target.ts'
import { resolveWorkerOptions } from './options.ts'
import type { ResolvedWorkerOptions, WorkerOptions } from './options.ts'
import { Supervisor } from './supervisor.ts'

/** A worker that runs in this process. */
export interface RunningWorker {
  /** The worker's id; it changes when Redis has lost the worker's registration. */
  readonly id: string
  /** The hash of its task module's code. */
  readonly hash: string
  /** The names of the tasks that it can run. */
  readonly tasks: readonly string[]
  /** Takes no more tasks, finishes what runs within `drainMs`, hands back the rest, and leaves. Safe twice. */
  drain(): Promise<void>
  /** Resolves when the worker has drained. Rejects with a {@link WorkerEndedError} when the process must end: `rssMb` was reached, or a thread runs native code that can't be stopped. */
  readonly closed: Promise<void>
}

const connectWithinMs = 10_000

/**
 * Starts a worker in this process: a thread for each core that runs tasks of the module for whoever submits them.
 * Resolves when it is registered and all threads are ready.
 *
 * @throws {UsageError} for an option that can't be used.
 * @throws {TaskModuleError} when the module can't be bundled or loaded, or its `setup` fails.
 * @throws {RedisUnreachableError} when Redis does not answer within 10 seconds.
 * @example
 * const worker = await startWorker({ tasks: new URL('./tasks.ts', import.meta.url), redis: 'redis://localhost' })
 * process.once('SIGTERM', () => worker.drain())
 */
export async function startWorker(options: WorkerOptions): Promise<RunningWorker> {
  const redis = options.redis ?? process.env['REDIS_URL']
  if (redis === undefined || redis === '') {
    throw new UsageError(
      'The worker does not know where Redis is, and only finds work there. Give startWorker({ redis: "redis://host:6379" }) or set REDIS_URL.',
    )
  }
  const worker = await startWorkerOn(redisTarget(redis), options.tasks, resolveWorkerOptions(options))
  if (options.signals === true) obeySignals(worker, options.log ?? silentLog)
  return worker
}

/** A {@link RunningWorker} for code of our own, which may drain it faster. */
export interface LocalWorker extends RunningWorker {
  drain(withinMs?: number): Promise<void>
}

/**
 * Like {@link startWorker}, with everything resolved. `launch`: what the process that started this one calls this run
 * of it, where it watches.
 */
export async function startWorkerOn(
  redis: RedisTarget,
  tasks: string | URL,
  options: ResolvedWorkerOptions,
  launch = '',
): Promise<LocalWorker> {
  const target = portableTarget(redis)
  const bundle = await bundleTasks(tasks)
  const { namespace, queue } = options
  let lastError: unknown
  const onOpen = (client: Client) => {
    client.on('error', error => {
      lastError = error
    })
  }
  const role = { name: 'millrace:worker', silenceMs: 8000 }
  const lanes = new Lanes({ target, namespace, queue, role, onOpen })
  const subscriber = openClient(target, { ...role, name: 'millrace:worker-control' })
  onOpen(subscriber)
  const host = `${hostname()}:${process.pid}`
  const supervisor = new Supervisor({
    ...options,
    log: sparingLog(options.log),
    hash: bundle.hash,
    label: host,
    hostname: hostname(),
    version: packageVersion(),
    launch,
    subscriber,
    lanes,
    prepareThread: async () => {
      const module = await writeBundle(bundle)
      const { hash, file: source } = bundle
      const { leaseMs } = options
      return {
        data: { target, namespace, queue, lanes: lanes.numbers, host, hash, leaseMs, bundle: module.href, source },
        resourceLimits: options.heapMb === undefined ? {} : { maxOldGenerationSizeMb: options.heapMb },
      }
    },
  })
  try {
    await lanes.start(connectWithinMs).catch((error: unknown) => {
      if (!(error instanceof RedisUnreachableError)) throw error
      throw unreachable(describeTarget(redis), connectWithinMs, lastError ?? error)
    })
    await supervisor.start()
  } catch (error) {
    await supervisor.abandon()
    throw error
  }
  return {
    get id() {
      return supervisor.id
    },
    hash: bundle.hash,
    tasks: supervisor.tasks,
    drain: withinMs => supervisor.drain(withinMs),
    closed: supervisor.closed,
  }
}

function obeySignals(worker: RunningWorker, log: Log): void {
  const signals = { SIGINT: 130, SIGTERM: 143 } as const
  let heard = false
  for (const [signal, exitCode] of Object.entries(signals) as [keyof typeof signals, number][]) {
    process.on(signal, () => {
      if (heard) endProcess(signal, exitCode)
      heard = true
      log.info(`the worker drains on ${signal}: running tasks may finish, the next signal ends it at once`)
      worker.drain().then(
        () => process.exit(0),
        () => {
          endProcess('SIGKILL', 1)
        },
      )
    })
  }
}

function packageVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  return manifest.version
}
