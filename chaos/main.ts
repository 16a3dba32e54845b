import { rmSync } from 'node:fs'
import { ChaosUsageError, readOptions, usage } from './options.ts'
import type { ChaosOptions } from './options.ts'
import { reportText } from './report.ts'
import { runChaos } from './run.ts'

/** `npm run chaos`: the report goes to stdout, what happens meanwhile to stderr. Exit codes: 0 green, 1 red, 2 usage. */

const say = (line: string) => {
  console.error(line)
}
process.exitCode = await main()

async function main(): Promise<number> {
  let options: ChaosOptions | 'help'
  try {
    options = readOptions(process.argv.slice(2))
  } catch (error) {
    if (!(error instanceof ChaosUsageError)) throw error
    say(`${error.message}\n\n${usage}`)
    return 2
  }
  if (options === 'help') {
    console.log(usage)
    return 0
  }
  say(`seed ${options.seed}`)
  const report = await runChaos(options, say)
  console.log(options.json ? JSON.stringify(report) : reportText(report))
  if (report.ok && !options.keep) rmSync(report.histories, { recursive: true, force: true })
  return report.ok ? 0 : 1
}
