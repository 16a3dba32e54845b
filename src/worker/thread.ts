import { receiveMessageOnPort, workerData } from 'node:worker_threads'
import { loadTasks } from '../code/load.ts'
import type { TaskModule } from '../code/load.ts'
import { TaskModuleError } from '../errors.ts'
import { describeFailure } from '../protocol/failure.ts'
import { Lanes } from '../store/lanes.ts'
import type { Client } from '../store/client.ts'
import { Board, monotonicMs, turnEveryMs } from './board.ts'
import { Broadcasts } from './broadcasts.ts'
import { ClaimIds } from './claim-ids.ts'
import { Committer } from './committer.ts'
import { Feed } from './feed.ts'
import { JobExtrasCache } from './job-extras.ts'
import type { FromThread, ThreadData, ToThread } from './messages.ts'
import { PendingTasks } from './pending-tasks.ts'
import { reportStrayRejections } from './stray-rejections.ts'
import { blockMs } from './stage-wait.ts'
import { SuspectGate } from './suspect-gate.ts'
import { TaskThread } from './task-thread.ts'

/** What a thread of a worker is started with: loads the task module, runs its `setup`, then runs tasks until it is drained. */

const data = workerData as ThreadData
const { port } = data
const send = (message: FromThread) => {
  port.postMessage(message)
}
const warn = (line: string) => {
  send({ type: 'log', level: 'warn', line })
}

reportStrayRejections(warn)

let module: TaskModule | undefined
try {
  module = await loadModule()
} catch (error) {
  const stack = error instanceof Error ? (error.stack ?? '') : ''
  send({ type: 'failed', error: describeFailure(error), stack })
}
if (module === undefined) port.close()
else await work(module)

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
  const { target, namespace, queue } = data
  const isShared = target.kind === 'single'
  const onOpen = (client: Client, lane: number) => {
    client.on('error', () => undefined)
    client.on('close', () => {
      // A single server's connection is that of every lane.
      ids.renew(isShared ? undefined : lane)
      feed.renew(lane)
    })
  }
  const common = { target, namespace, queue, onOpen }
  const name = `millrace:thread-${data.thread}`
  const lanes = new Lanes({ ...common, role: { name, silenceMs: 8000 } }, data.lanes)
  // What is under way when a connection is lost must not be sent again: its claim may have been abandoned.
  const waitMs = blockMs(data.leaseMs)
  const waits = new Lanes({ ...common, role: { name: `${name}-wait`, silenceMs: waitMs + 4000, once: true } })
  const ids = new ClaimIds(lanes, send)
  const suspects = new SuspectGate(data.suspects)
  const writeLine = (line: string) => {
    send({ type: 'log', level: 'info', line })
  }
  const feed = new Feed({
    hash: data.hash,
    thread: data.thread,
    suspects,
    board,
    ids,
    lanes,
    waits,
    blockMs: waitMs,
    onFound: lane => {
      send({ type: 'found', lane })
    },
    warn,
  })
  const settled = (tasks: number) => {
    board.countSettled(tasks)
  }
  const broadcasts = new Broadcasts({
    module,
    board,
    lanes,
    thread: data.thread,
    label,
    workerId: lane => ids.workerOn(lane),
    writeLine,
  })
  const thread = new TaskThread({
    module,
    worker: label,
    board,
    ids,
    feed,
    committer: new Committer({ board, hash: data.hash, worker: label, lanes, ids, warn, settled }),
    pending: new PendingTasks(board, monotonicMs),
    extras: new JobExtrasCache(board, lanes, send),
    leaveSuspects: () => {
      suspects.leave(data.thread)
    },
    broadcasts,
    onLanes: numbers => {
      lanes.adopt(numbers)
    },
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
  // Shows the main thread that no code of a task that has ended keeps the loop.
  setInterval(() => {
    board.turn()
  }, turnEveryMs).unref()
  board.turn()
  const tasks = [...module.tasks.values()].map(({ name, options }) => ({ name, options }))
  send({ type: 'ready', tasks, reducers: [...module.reducers.keys()] })
  await thread.run()
  lanes.disconnect()
  waits.disconnect()
  send({ type: 'drained' })
}
