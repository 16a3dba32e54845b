import { availableParallelism, loadavg } from 'node:os'
import { Command } from 'commander'
import { connect } from '../../driver/connect.ts'
import type { Mill } from '../../driver/types.ts'
import { projectDirectory } from '../../embedded/embedded-redis.ts'
import { folderCollection, packagesCollection } from '../demo/collection.ts'
import { countPrimes, countWordsOf } from '../demo/demo.ts'
import { demoData, renderDemo } from '../demo/demo-report.ts'
import { MOST_PRIMES_BELOW } from '../demo/sieve.ts'
import { demoTasksUrl } from '../demo/tasks-url.ts'
import { exitCodes } from '../exit-codes.ts'
import { wholeNumber, withJson, withRedis, type OutputFlags, type RedisFlags } from '../options.ts'
import { stoppable } from '../signals.ts'
import { styleFor } from '../style.ts'
import { formatBytes, formatDuration, groupDigits, plural } from '../words.ts'

interface DemoFlags extends RedisFlags, OutputFlags {
  readonly threads?: number
  readonly primesBelow: number
}

/** `millrace demo`: two real computations with checked results. */
export function demoCommand(end: (exitCode: number) => void): Command {
  const command = new Command('demo')
    .summary('compute something real, and check it')
    .description('Count the primes below 10⁹ and the words of a text collection, check both, and say how fast it was.')
    .argument('[folder]', 'folder with texts (default: READMEs, licences and declarations of the installed packages)')
    .option(
      '--threads <n>',
      'threads of a local worker; 0: only workers started elsewhere (default: one per core)',
      wholeNumber(0, 1024),
    )
    .option('--primes-below <n>', 'count primes below this number', wholeNumber(100, MOST_PRIMES_BELOW), 1_000_000_000)
    .action(async (folder: string | undefined, flags: DemoFlags) => {
      end(await stoppable(signal => demo(folder, flags, signal)))
    })
  return withJson(withRedis(command))
}

async function demo(folder: string | undefined, flags: DemoFlags, signal: AbortSignal): Promise<number> {
  const collection =
    folder === undefined ? await packagesCollection(projectDirectory()) : await folderCollection(folder)
  const say = (line: string) => process.stderr.write(`${line}\n`)
  const startMs = performance.now()
  const { redis, namespace, queue } = flags
  const mill = await connect({
    tasks: demoTasksUrl(),
    ...(redis === undefined ? {} : { redis }),
    threads: flags.threads ?? availableParallelism(),
    namespace,
    queue,
  })
  try {
    if (redis !== undefined || flags.threads === 0) say(`Workers can join from other terminals:  ${joinCommand(flags)}`)
    const load = loadavg()[0] ?? 0
    // What the speed-up is measured against would be slowed down as well, but not as much.
    if (load > availableParallelism())
      say(`This machine is busy already (load ${load.toFixed(1)}): the speed-up will be less than it could be.`)
    say(`${await describeFleet(mill)}, up after ${formatDuration(performance.now() - startMs)}.`)
    const surroundings = { progress: process.stderr, signal }
    say(`Counting the primes below ${groupDigits(flags.primesBelow)}, then again in one thread without Millrace.`)
    const primes = await countPrimes(mill, flags.primesBelow, surroundings)
    const { files, bytes, description, folder: root } = collection
    say(
      `Counting the words of ${groupDigits(files.length)} ${description} (${formatBytes(bytes)}) in ${root}, then again in one thread.\n`,
    )
    const words = await countWordsOf(mill, collection, surroundings)
    if (flags.json === true)
      process.stdout.write(`${JSON.stringify({ primes: demoData(primes), words: demoData(words) })}\n`)
    else process.stdout.write(renderDemo([primes, words], words, styleFor(process.stdout)))
    return primes.correct && words.correct ? exitCodes.done : exitCodes.failed
  } finally {
    await mill.close()
  }
}

async function describeFleet(mill: Mill): Promise<string> {
  const workers = await mill.workers()
  const threads = workers.reduce((sum, worker) => sum + worker.threads, 0)
  return threads === 0 ? 'No worker yet' : `${plural(threads, 'thread')} in ${plural(workers.length, 'worker')}`
}

/** What to type elsewhere. A password is not for the screen. */
function joinCommand({ redis, namespace, queue }: DemoFlags): string {
  const url = redis === undefined ? '' : ` --redis ${/:\/\/[^/]*@/.test(redis) ? '"$REDIS_URL"' : redis}`
  const space = namespace === 'millrace' ? '' : ` --namespace ${namespace}`
  return `millrace worker --demo${url}${space}${queue === 'default' ? '' : ` --queue ${queue}`}`
}
