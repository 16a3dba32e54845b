import { availableParallelism } from 'node:os'
import { MillraceError } from '../errors.ts'
import type { FromLocalWorker, StartLocalWorker } from '../protocol/local-worker.ts'
import type { Log } from '../runtime/log.ts'
import type { RedisTarget } from '../store/target.ts'
import { resolveWorkerOptions } from './options.ts'
import { startWorkerOn } from './start-worker.ts'
import type { LocalWorker } from './start-worker.ts'

/**
 * The process that a driver forks for its local worker. It starts when it is told what to run, and goes when the
 * driver goes: the IPC channel's end is the sign. Data are the driver's to print, so the log goes to stderr.
 */

/** The driver is gone: nobody waits for what runs here, and others can run it. */
const farewellMs = 300
const longestFarewellMs = 15_000

/**
 * Says nothing more when the driver has gone. The driver remembers the last lines, in case this process dies. Not by
 * reading its stderr: a pipe that a busy driver leaves full would stop this process, and cost it its lease.
 */
const say = (line: string) => {
  if (!process.connected) return
  process.stderr.write(`${line}\n`)
  if (!behind) behind = process.send?.({ type: 'log', line } satisfies FromLocalWorker, caughtUp) === false
}
/** Lines are left out while the driver takes no more. */
let behind = false
const caughtUp = () => {
  behind = false
}
const log: Log = { info: say, warn: say }

let worker: Promise<LocalWorker> | undefined

process.once('message', (message: StartLocalWorker) => {
  worker = start(message)
  worker.catch(() => undefined)
})
process.once('disconnect', () => {
  leave()
})
// Ctrl-C reaches the whole process group: the driver decides, and closes the channel.
process.on('SIGINT', () => {
  if (!process.connected) leave()
})
process.once('SIGTERM', () => {
  leave()
})

async function start({ target, namespace, queue, threads, tasks, launch }: StartLocalWorker): Promise<LocalWorker> {
  try {
    const resolved = resolveWorkerOptions({
      namespace,
      queue,
      threads: threads > 0 ? threads : availableParallelism(),
      log,
    })
    const started = await startWorkerOn(target as RedisTarget, new URL(tasks), resolved, launch)
    // It had to give up, and the driver starts another. An exit would wait for a thread that can't be stopped.
    started.closed.catch(() => process.kill(process.pid, 'SIGKILL'))
    send({ type: 'ready', worker: started.id, hash: started.hash, tasks: started.tasks })
    return started
  } catch (error) {
    const code = error instanceof MillraceError ? error.code : 'WORKER_START'
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
    process.exitCode = 1
    send({ type: 'failed', code, message }, () => {
      process.disconnect()
    })
    throw error
  }
}

function leave(): void {
  // With Redis gone, a start or a drain may never end.
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), longestFarewellMs).unref()
  const started = worker ?? Promise.resolve(undefined)
  started
    .then(
      running => running?.drain(farewellMs).catch(() => process.kill(process.pid, 'SIGKILL')),
      () => {
        process.exitCode = 1
      },
    )
    .then(
      () => process.exit(),
      () => process.exit(1),
    )
}

function send(message: FromLocalWorker, sent: () => void = () => undefined): void {
  if (process.connected) process.send?.(message, sent)
}
