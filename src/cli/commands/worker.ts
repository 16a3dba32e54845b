import { availableParallelism } from 'node:os'
import { Command } from 'commander'
import { UsageError } from '../../errors.ts'
import { startPlainWorker } from '../../worker/plain/index.ts'
import { startWorker } from '../../worker/index.ts'
import { demoTasksUrl } from '../demo/tasks-url.ts'
import { exitCodes } from '../exit-codes.ts'
import { wholeNumber, withRedis, type RedisFlags } from '../options.ts'
import { stoppable } from '../signals.ts'
import { plural } from '../words.ts'

interface WorkerFlags extends RedisFlags {
  readonly threads: number
  readonly demo?: boolean
  readonly plainTask?: string
  readonly plainList?: string
  readonly plainResults?: string
  readonly plainChannel?: string
}

/** `millrace worker`: a process that takes part in the work until it is told to stop. */
export function workerCommand(end: (exitCode: number) => void): Command {
  const command = new Command('worker')
    .description('Run tasks of a task module until SIGTERM or Ctrl-C: then finish what runs, hand back the rest, and exit with 0.')
    .argument('[tasks]', 'the task module, such as tasks.ts')
    .option('--threads <n>', 'threads that run tasks', wholeNumber(1, 1024), availableParallelism())
    .option('--demo', 'run the tasks of millrace demo')
    .optionsGroup('Plain-Redis mode: take strings from a List, write results into a Hash:')
    .option('--plain-task <name>', 'task that each string is given to')
    .option('--plain-list <key>', 'List that strings are taken from')
    .option('--plain-results <key>', 'Hash that results are written into')
    .option('--plain-channel <name>', 'channel whose messages every worker runs')
    .action(async (tasks: string | undefined, flags: WorkerFlags) => {
      end(await stoppable(signal => work(taskModule(tasks, flags), flags, signal)))
    })
  return withRedis(command.optionsGroup('Options:'))
}
