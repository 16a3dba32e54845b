import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { Command } from 'commander'
import { exitCodeOf, runScript } from '../../code/run-script.ts'
import { UsageError } from '../../errors.ts'
import { withRedis, type OutputFlags, type RedisFlags } from '../options.ts'

/** `millrace run`: a driver script in TypeScript, without a build step. */
export function runCommand(end: (exitCode: number) => void): Command {
  const command = new Command('run')
    .summary('run a TypeScript program that uses Millrace')
    .description('Run a TypeScript or JavaScript program that uses Millrace. Its exit code is the exit code.')
    .argument('<file>', 'the program, such as main.ts')
    .argument('[args...]', 'arguments for the program, after --')
    .addHelpText('after', '\nExample: millrace run main.ts -- --rows 1000')
    .action(async (file: string, args: string[], flags: RedisFlags & OutputFlags) => {
      if (!existsSync(file)) {
        throw new UsageError(
          `There is no file ${resolve(file)}, so that nothing can be run. Give the path of your program: millrace run main.ts.`,
        )
      }
      end(exitCodeOf(await runScript(file, args, scriptEnvironment(flags))))
    })
  return withRedis(command)
}

/** The program's `connect()` reads from its environment where Redis is, and which fleet it is to work with. */
function scriptEnvironment({ redis, namespace, queue, debug }: RedisFlags & OutputFlags): NodeJS.ProcessEnv {
  const { REDIS_URL: _replaced, ...environment } = process.env
  return {
    ...environment,
    ...(redis === undefined ? {} : { REDIS_URL: redis }),
    MILLRACE_NAMESPACE: namespace,
    MILLRACE_QUEUE: queue,
    ...(debug === true ? { MILLRACE_DEBUG: '1' } : {}),
    MILLRACE_ANNOUNCE: '1',
  }
}
