import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { bundleTasks } from '../code/bundle.ts'
import { acquireEmbeddedRedis, projectDirectory } from '../embedded/embedded-redis.ts'
import { RedisUnreachableError } from '../errors.ts'
import { jitteredBackoffMs } from '../runtime/backoff.ts'
import { noteProcessEnd } from '../store/note-end.ts'
import { checkServers } from '../store/inspect/server.ts'
import { describeTarget, portableTarget, redisTarget, unreachable } from '../store/target.ts'
import type { RedisInput, RedisTarget } from '../store/target.ts'
import { Link } from './link.ts'
import { LocalWorker } from './local-worker.ts'
import { ConnectedMill } from './mill.ts'
import type { Mill } from './types.ts'

/** The options of `connect`, checked, with their defaults. */
export interface OpenOptions {
  readonly redis: RedisInput | undefined
  readonly tasks: string | URL | undefined
  readonly threads: number
  readonly namespace: string
  readonly queue: string
  readonly connectTimeoutMs: number
}

/** Finds Redis or starts it, says who we are, and starts the local worker. What was begun is ended when something fails. */
export async function openMill(options: OpenOptions): Promise<Mill> {
  const ends: (() => Promise<void>)[] = []
  try {
    return await open(options, ends)
  } catch (error) {
    for (const end of ends) await end()
    throw error
  }
}

/** Adds to `ends` what has to be undone, in that order, as it goes. */
async function open(options: OpenOptions, ends: (() => Promise<void>)[]): Promise<Mill> {
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
