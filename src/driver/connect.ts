import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { bundleTasks } from '../code/bundle.ts'
import { isLoadingTasks } from '../code/load.ts'
import { acquireEmbeddedRedis, projectDirectory } from '../embedded/embedded-redis.ts'
import { RedisUnreachableError, UsageError } from '../errors.ts'
import { checkName } from '../protocol/names.ts'
import { jitteredBackoffMs } from '../runtime/backoff.ts'
import { noteProcessEnd } from '../store/note-end.ts'
import { checkServers } from '../store/inspect/server.ts'
import { describeTarget, portableTarget, redisTarget, unreachable } from '../store/target.ts'
import type { RedisInput, RedisTarget } from '../store/target.ts'
import { Link } from './link.ts'
import { LocalWorker } from './local-worker.ts'
import { ConnectedMill } from './mill.ts'
import type { ConnectOptions, Mill } from './types.ts'

/**
 * Connects to Redis: the given one, that of the environment's `REDIS_URL`, or else an embedded one of this project.
 * With an embedded one (or with `threads`) it also starts a local worker, in a process of its own, that runs the tasks
 * of the `tasks` module.
 *
 * @throws {UsageError} for options that can't be used, or when called while a worker loads a task module.
 * @throws {RedisUnreachableError} when Redis does not answer within `connectTimeoutMs`.
 * @throws {RedisVersionError} for Redis before 7.0 or Valkey before 7.2.
 * @throws {EvictionPolicyError} when the server may delete waiting tasks.
 * @throws {RedisServerMissingError | EmbeddedRedisError} when the embedded Redis can't be started.
 * @throws {TaskModuleError} when the task module can't be found, compiled or loaded.
 * @throws {WorkerStartError} when the local worker does not come up.
 * @example
 * await using mill = await connect({ tasks: new URL('./tasks.ts', import.meta.url) })
 * for await (const y of mill.map(square, range(1_000_000))) use(y)
 */
export async function connect(options: ConnectOptions = {}): Promise<Mill> {
  refuseInTaskModule()
  const resolved = resolveOptions(options)
  const ends: (() => Promise<void>)[] = []
  try {
    return await open(resolved, ends)
  } catch (error) {
    for (const end of ends) await end()
    throw error
  }
}

interface ResolvedConnectOptions {
  readonly redis: RedisInput | undefined
  readonly tasks: string | URL | undefined
  readonly threads: number
  readonly namespace: string
  readonly queue: string
  readonly connectTimeoutMs: number
}

function resolveOptions(options: ConnectOptions): ResolvedConnectOptions {
  const { tasks, queue = 'default', namespace = 'millrace', connectTimeoutMs = 10_000 } = options
  const redis = options.redis ?? (process.env['REDIS_URL'] === '' ? undefined : process.env['REDIS_URL'])
  const threads = options.threads ?? (redis === undefined && tasks !== undefined ? availableParallelism() : 0)
  if (!Number.isInteger(threads) || threads < 0 || threads > 1024) {
    throw new UsageError(`threads can't be ${threads}: give a whole number from 0 to 1024.`)
  }
  if (threads > 0 && tasks === undefined) {
    throw new UsageError(
      'A local worker needs to know what to run: give connect() the tasks option, the path or URL of your task module, or threads: 0.',
    )
  }
  if (!(connectTimeoutMs > 0 && connectTimeoutMs < 2 ** 31))
    throw new UsageError(`connectTimeoutMs can't be ${connectTimeoutMs}: give milliseconds.`)
  const names = { namespace: checkName('namespace', namespace), queue: checkName('queue', queue) }
  return { redis, tasks, threads, ...names, connectTimeoutMs }
}

/** Adds to `ends` what has to be undone, in that order, as it goes. */
async function open(options: ResolvedConnectOptions, ends: (() => Promise<void>)[]): Promise<Mill> {
  const { tasks, threads, namespace, queue } = options
  // Compiling the module takes as long as starting Redis, so both at once. What fails is said when it is awaited.
  const bundling = tasks === undefined ? undefined : bundleTasks(tasks)
  bundling?.catch(() => undefined)
  const target = await findRedis(options.redis, ends)
  const link = new Link(target, { namespace, queue })
  try {
    await reach(link, target, options.connectTimeoutMs)
    const bundle = await bundling
    if (threads > 0 && bundle !== undefined) {
      const start = {
        target: portableTarget(target),
        namespace,
        queue,
        threads,
        tasks: pathToFileURL(bundle.file).href,
      }
      const worker = new LocalWorker(start, {
        onGivenUp: error => {
          for (const job of link.jobs) job.fail(error)
        },
        onEnd: (launch, end) => {
          noteProcessEnd(link.lanes, launch, end).catch(() => undefined)
        },
      })
      ends.unshift(() => worker.stop())
      await worker.start()
    }
    return new ConnectedMill({ link, ownHash: bundle?.hash, ends })
  } catch (error) {
    await link.stop(0)
    throw error
  }
}

async function findRedis(redis: RedisInput | undefined, ends: (() => Promise<void>)[]): Promise<RedisTarget> {
  if (redis !== undefined) return redisTarget(redis)
  const embedded = await acquireEmbeddedRedis({ projectDir: projectDirectory() })
  ends.push(() => embedded.release())
  return { kind: 'single', options: { path: embedded.socketPath } }
}

async function reach(link: Link, target: RedisTarget, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs
  const { lanes } = link
  const reached =
    (await inTime(lanes.reach(timeoutMs), deadline)) && (await inTime(greet(link, target, deadline), deadline))
  if (!reached) throw unreachable(describeTarget(target), timeoutMs, link.lastError)
}

/** Looks at the servers before anything is written, finds the lanes and begins to listen, again if a connection breaks meanwhile. */
function greet(link: Link, target: RedisTarget, deadline: number): Promise<void> {
  const { lanes } = link
  return link.ask(async () => {
    await whileUnreachable(deadline, () => lanes.withServers(servers => checkServers(servers, target.kind)))
    await lanes.start(deadline - performance.now())
    await link.start()
  })
}

/** Again until the deadline: a failover that is under way has a master that is gone still in everybody's map. */
async function whileUnreachable(deadline: number, ask: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await ask()
      return
    } catch (error) {
      if (!(error instanceof RedisUnreachableError) || performance.now() >= deadline) throw error
    }
    await sleep(jitteredBackoffMs(attempt, { firstMs: 100, mostMs: 1000 }))
  }
}

/** False when that takes too long, or Redis can't be reached. What is too late ends with the link. */
async function inTime(work: Promise<void>, deadline: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>(resolve => {
    timer = setTimeout(resolve, deadline - performance.now(), false)
  })
  const done = work.then(
    () => true,
    (error: unknown) => {
      if (error instanceof RedisUnreachableError) return false
      throw error
    },
  )
  done.catch(() => undefined)
  try {
    return await Promise.race([done, late])
  } finally {
    clearTimeout(timer)
  }
}

/** A worker loads the task module in each of its threads: a connection there would start workers that load it, and so on. */
function refuseInTaskModule(): void {
  if (!isLoadingTasks()) return
  throw new UsageError(
    'connect() was called while a worker was loading the task module. Keep tasks in a module of their own, which the program that connects imports, and not the other way round.',
  )
}
