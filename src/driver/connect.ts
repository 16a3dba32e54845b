import { availableParallelism } from 'node:os'
import { isLoadingTasks } from '../code/load.ts'
import { UsageError } from '../errors.ts'
import { fleetNames } from '../store/fleet-names.ts'
import type { OpenOptions } from './open-mill.ts'
import type { ConnectOptions, Mill } from './types.ts'

/**
 * Connects to Redis: the given one, that of the environment's `REDIS_URL`, or else an embedded one of this project.
 * With an embedded one (or with `threads`) it also starts a local worker, in a process of its own, that runs the tasks
 * of the `tasks` module. Without `namespace` and `queue` it takes those of the environment's `MILLRACE_NAMESPACE` and
 * `MILLRACE_QUEUE`, which `millrace run` sets from its flags, else `millrace` and `default`.
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
  // Loaded only now: task modules import this package too, and their threads have no use for the driver.
  const { openMill } = await import('./open-mill.ts')
  return openMill(resolved)
}

function resolveOptions(options: ConnectOptions): OpenOptions {
  const { tasks, connectTimeoutMs = 10_000 } = options
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
  return { redis, tasks, threads, ...fleetNames(options), connectTimeoutMs }
}

/** A worker loads the task module in each of its threads: a connection there would start workers that load it, and so on. */
function refuseInTaskModule(): void {
  if (!isLoadingTasks()) return
  throw new UsageError(
    'connect() was called while a worker was loading the task module. Keep tasks in a module of their own, which the program that connects imports, and not the other way round.',
  )
}
