import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { UsageError } from '../errors.ts'
import { demoCommand } from './commands/demo.ts'
import { doctorCommand } from './commands/doctor.ts'
import { jobsCommand } from './commands/jobs.ts'
import { runCommand } from './commands/run.ts'
import { snapshotCommand } from './commands/snapshot.ts'
import { workerCommand } from './commands/worker.ts'
import { exitCodeOfError, exitCodes } from './exit-codes.ts'
import { reportError } from './report-error.ts'

/** Makes one command. It calls `end` when its exit code is not 0. */
export type MakeCommand = (end: (exitCode: number) => void) => Command

const makers: readonly MakeCommand[] = [
  runCommand,
  workerCommand,
  jobsCommand,
  snapshotCommand,
  doctorCommand,
  demoCommand,
]

/** Runs one command line and resolves with the exit code. Never rejects. */
export async function runCommandLine(args: readonly string[]): Promise<number> {
  let exitCode: number = exitCodes.done
  const program = buildProgram(code => {
    exitCode = code
  })
  try {
    await program.parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError && !isMistake(error))
      return error.exitCode === 0 ? exitCodes.done : exitCodes.usage
    const told = error instanceof CommanderError ? usageError(error, args) : error
    // The options may be what could not be read, so these are looked for by hand.
    const ours = args.slice(0, args.includes('--') ? args.indexOf('--') : args.length)
    reportError(told, { json: ours.includes('--json'), debug: ours.includes('--debug') })
    return exitCodeOfError(told)
  }
}

function buildProgram(end: (exitCode: number) => void): Command {
  const program = new Command('millrace')
    .description('Distributed computing for TypeScript on the Redis you already run.')
    .version(packageVersion())
    .addHelpText('after', exitCodeHelp)
  for (const make of makers) program.addCommand(make(end))
  for (const command of [program, ...program.commands]) {
    // Errors are printed by us, all in one form.
    command.exitOverride().configureOutput({ outputError: () => undefined })
  }
  return program
}

const exitCodeHelp = `
Exit codes: 0 done, 1 the work failed, 2 the command line cannot be understood, 3 Redis cannot be reached,
130 and 143 stopped by SIGINT and SIGTERM.`

/** Help and version come as errors too, after they have been printed. */
function isMistake({ code }: CommanderError): boolean {
  return !['commander.help', 'commander.helpDisplayed', 'commander.version'].includes(code)
}

function usageError({ message, code }: CommanderError, args: readonly string[]): UsageError {
  const command = args.find(arg => makers.some(make => make(() => undefined).name() === arg))
  const [what = '', ...more] = message.replace(/^error: /, '').split(/\s*\n\s*/)
  // A suggestion comes in brackets on a line of its own.
  const sentences = [what, ...more.map(line => line.replace(/^\((.*)\)$/, '$1'))].map(sentence)
  if (command === 'run' && code === 'commander.unknownOption')
    sentences.push('Arguments for the program itself stand after --.')
  return new UsageError(
    `${sentences.join(' ')} Run millrace ${command === undefined ? '' : `${command} `}--help to see what there is.`,
  )
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.?!]$/.test(text) ? '' : '.')
}

function packageVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  return (manifest as { readonly version: string }).version
}
