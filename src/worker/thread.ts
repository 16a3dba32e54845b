import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { loadTasks } from '../code/load.ts'
import type { TaskModule } from '../code/load.ts'
import { TaskModuleError } from '../errors.ts'
import { describeFailure } from '../protocol/failure.ts'
import { openClient } from '../store/client.ts'
import { LaneStore } from '../store/lane-store.ts'
import { Board, monotonicMs } from './board.ts'
import { Broadcasts } from './broadcasts.ts'
import { ClaimIds } from './claim-ids.ts'
import { Committer } from './committer.ts'
import { blockMs, Feed } from './feed.ts'
import { JobExtrasCache } from './job-extras.ts'
import type { FromThread, ThreadData, ToThread } from './messages.ts'
import { PendingTasks } from './pending-tasks.ts'
import { SuspectGate } from './suspect-gate.ts'
import { TaskThread } from './task-thread.ts'

/** What a thread of a worker is started with: loads the task module, runs its `setup`, then runs tasks until it is drained. */

const port = ownPort()
const data = workerData as ThreadData
const send = (message: FromThread) => {
  port.postMessage(message)
}
const warn = (line: string) => {
  send({ type: 'log', level: 'warn', line })
}

// A promise that nobody waits for any more says nothing about the task that runs now.
process.on('unhandledRejection', reason => {
  warn(
    `a promise was rejected and nobody handled it: ${reason instanceof Error ? (reason.stack ?? reason.message) : String(reason)}`,
  )
})

let module: TaskModule | undefined
try {
  module = await loadModule()
} catch (error) {
  const stack = error instanceof Error ? (error.stack ?? '') : ''
  send({ type: 'failed', error: describeFailure(error), stack })
}
if (module === undefined) port.close()
else await work(module)

function ownPort() {
  if (parentPort === null) throw new Error('worker/thread is the entry of a worker thread')
  return parentPort
}

async function loadModule(): Promise<TaskModule> {
  const loaded = await loadTasks(new URL(data.bundle), data.source)
  try {
    await loaded.setup?.({ worker: data.host, thread: data.thread })
  } catch (error) {
    const reason = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
    const failure = new TaskModuleError(
      `The setup of the task module ${data.source} failed, before any task ran: ${reason}. Correct what it does.`,
      { cause: error },
    )
    const frames = error instanceof Error ? (error.stack ?? '').split('\n').filter(line => /^\s+at /.test(line)) : []
    failure.stack = [`${failure.name}: ${failure.message}`, ...frames].join('\n')
    throw failure
  }
  return loaded
}

async function work(module: TaskModule): Promise<void> {
  const label = `${data.host}/${data.thread}`
  const board = new Board(data.board)
  const command = openClient(data.target, { name: `millrace:thread-${data.thread}`, silenceMs: 8000 })
  const blocking = openClient(data.target, { name: `millrace:thread-${data.thread}-wait`, silenceMs: blockMs + 4000 })
  const lanes = Array.from({ length: data.lanes }, (_, lane) => ({
    namespace: data.namespace,
    queue: data.queue,
    lane,
  }))
  const commands = lanes.map(lane => new LaneStore(command, lane))
  const homeLane = data.thread % data.lanes
  const ids = new ClaimIds(commands, send)
  const suspects = new SuspectGate(data.suspects)
  const writeLine = (line: string) => {
    send({ type: 'log', level: 'info', line })
  }
  const feed = new Feed({
    hash: data.hash,
    homeLane,
    thread: data.thread,
    suspects,
    board,
    ids,
    commands,
    blocking: commands[homeLane]!.over(blocking),
    warn,
  })
  for (const client of [command, blocking]) {
    client.on('error', () => undefined)
    client.on('close', () => {
      ids.renew()
      feed.renew()
    })
  }
  const settled = (tasks: number) => {
    board.countSettled(tasks)
  }
  const broadcasts = new Broadcasts({
    module,
    board,
    commands,
    thread: data.thread,
    label,
    workerId: () => ids.worker,
    writeLine,
  })
  const thread = new TaskThread({
    module,
    worker: label,
    board,
    ids,
    feed,
    committer: new Committer({ hash: data.hash, worker: label, commands, ids, warn, settled }),
    pending: new PendingTasks(board, monotonicMs),
    extras: new JobExtrasCache(commands, send),
    leaveSuspects: () => {
      suspects.leave(data.thread)
    },
    broadcasts,
    writeLine,
    readMessages: () => {
      for (;;) {
        const received = receiveMessageOnPort(port) as { readonly message: ToThread } | undefined
        if (received === undefined) break
        thread.receive(received.message)
      }
    },
    clock: monotonicMs,
  })
  port.on('message', (message: ToThread) => {
    thread.receive(message)
  })
  const tasks = [...module.tasks.values()].map(({ name, options }) => ({ name, options }))
  send({ type: 'ready', tasks, reducers: [...module.reducers.keys()] })
  await thread.run()
  command.disconnect()
  blocking.disconnect()
  send({ type: 'drained' })
}
