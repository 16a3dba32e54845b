import { format } from 'node:util'
import { workerData } from 'node:worker_threads'
import type { Task } from '../../code/task.ts'
import { loadTasks } from '../../code/load.ts'
import { MillraceError, UnknownTaskError } from '../../errors.ts'
import { encodePlainResult } from '../../protocol/plain.ts'
import { reportStrayRejections } from '../stray-rejections.ts'
import type { FromPlainThread, PlainCall, PlainThreadData } from './messages.ts'

/** The entry of a thread in plain-Redis mode: loads the task module, then runs one element at a time. */
const data = workerData as PlainThreadData
const { port } = data
const say = (message: FromPlainThread) => {
  port.postMessage(message)
}

reportStrayRejections(line => {
  say({ type: 'log', line })
})

try {
  const module = await loadTasks(new URL(data.module), data.source)
  const task = module.tasks.get(data.task)
  if (task === undefined) {
    const known = [...module.tasks.keys()].join(', ')
    throw new UnknownTaskError(
      `The task module has no task named ${JSON.stringify(data.task)}. It has: ${known}. Name one of them with --plain-task.`,
    )
  }
  await module.setup?.({ worker: data.worker, thread: data.thread })
  port.on('message', (call: PlainCall) => {
    // Never rejects: whatever the task throws is an answer.
    run(task, call).catch(() => undefined)
  })
  const { retries, backoffMs, maxBackoffMs, timeoutMs } = task.options
  say({ type: 'ready', retries, backoffMs, maxBackoffMs, timeoutMs })
} catch (error) {
  const code = error instanceof MillraceError ? error.code : 'TASK_MODULE'
  say({ type: 'failed', code, message: error instanceof MillraceError ? error.message : format(error) })
}

async function run(
  task: Task<unknown, unknown, unknown>,
  { call, input, field, attempt, timeoutMs }: PlainCall,
): Promise<void> {
  const abort = new AbortController()
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => {
          abort.abort(new Error('timed out'))
        }, timeoutMs)
  try {
    const value = await task.fn(input, {
      jobId: data.task,
      index: 0,
      attempt,
      worker: `${data.worker}/${data.thread}`,
      signal: abort.signal,
      shared: undefined,
      log: (...values: unknown[]) => {
        say({ type: 'log', line: `${field}: ${format(...values)}` })
      },
    })
    say({ type: 'done', call, value: encodePlainResult(value) })
  } catch (error) {
    const known = error instanceof Error ? error : undefined
    say({
      type: 'threw',
      call,
      name: known?.name ?? 'Error',
      message: known?.message ?? format(error),
      stack: known?.stack ?? '',
    })
  } finally {
    clearTimeout(timer)
  }
}
