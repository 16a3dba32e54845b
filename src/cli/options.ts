import { InvalidArgumentError, Option, type Command } from 'commander'
import { checkName } from '../protocol/names.ts'
import { redisTarget } from '../store/target.ts'

/** The options of every command that talks to Redis. */
export interface RedisFlags {
  /** `--redis`, else `REDIS_URL`; undefined stands for the embedded Redis of this project. */
  readonly redis?: string
  /** Like the queue, from the flag, else the environment, where `connect()` looks too. */
  readonly namespace: string
  readonly queue: string
}

/** The options that say how a command prints. */
export interface OutputFlags {
  readonly json?: boolean
  readonly debug?: boolean
}

/** Adds `--redis`, `--namespace`, `--queue` and `--debug`. */
export function withRedis(command: Command): Command {
  return withDebug(
    command
      .addOption(
        new Option('--redis <url>', 'Redis to use; without one, an embedded Redis of this project')
          .env('REDIS_URL')
          .argParser(parseRedisUrl),
      )
      .addOption(nameOption('namespace', 'prefix of every key', 'millrace'))
      .addOption(nameOption('queue', 'queue to work on', 'default')),
  )
}

/** Adds `--json`. */
export function withJson(command: Command): Command {
  return command.option('--json', 'print data, and errors, as JSON')
}

/** Adds `--debug`. */
export function withDebug(command: Command): Command {
  return command.option('--debug', 'print the stacks of errors')
}

/** A parser for an option that is a whole number. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return text => {
    const value = /^\d+$/.test(text) ? Number(text) : NaN
    if (value >= least && value <= most) return value
    throw new InvalidArgumentError(`Give a whole number from ${least} to ${most}.`)
  }
}

/**
 * Only an empty REDIS_URL is undefined: it means none. What is refused is told as it comes: commander would put the whole
 * value in front, with its password.
 */
function parseRedisUrl(text: string): string | undefined {
  if (text === '') return undefined
  redisTarget(text)
  return text
}

function nameOption(what: 'namespace' | 'queue', description: string, usual: string): Option {
  return new Option(`--${what} <name>`, description)
    .env(`MILLRACE_${what.toUpperCase()}`)
    .argParser(text => checkName(what, text))
    .default(usual)
}
