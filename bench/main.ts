import { parseArgs } from 'node:util'
import { describeMachine } from './core/machine.ts'
import { hasWrongResult } from './core/outcome.ts'
import type { BenchRun } from './core/outcome.ts'
import { describeOutcome } from './core/table.ts'
import { installPeers } from './install-peers.ts'
import { writeReport } from './report/write.ts'
import { isRowName, rows } from './rows/index.ts'
import { startRow } from './start-row.ts'

const usage = `npm run bench [-- NAME…] [--quick] [--rounds N] [--json] [--install-python-peers]
npm run bench -- --report FILE     writes RESULTS.md, the charts and docs/scaling.md from what --json printed

Progress goes to stderr. The table goes to stdout, or with --json to stderr and one JSON document to stdout.
A missed bar, or a row that could not be run, fails nothing; a wrong result ends with 1.
The rows: ${Object.keys(rows).join(', ')}
`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    report: { type: 'string' },
    help: { type: 'boolean', default: false },
    'install-python-peers': { type: 'boolean', default: false },
  },
})
const rounds = Number(values.rounds ?? (values.quick ? 2 : 5))
const unknown = positionals.filter(name => !isRowName(name))

if (values.help) process.stdout.write(usage)
else if (unknown.length > 0) refuse(`There is no row ${unknown.join(', ')}.`)
else if (!Number.isInteger(rounds) || rounds < 1) refuse('--rounds takes a whole number from 1 on.')
else if (values.report === undefined) await measure(positionals.length > 0 ? positionals : Object.keys(rows))
else writeReport(values.report)

async function measure(names: readonly string[]): Promise<void> {
  await installPeers({ python: values['install-python-peers'] })
  const started = performance.now()
  const out = values.json ? process.stderr : process.stdout
  const outcomes: BenchRun['outcomes'][number][] = []
  for (const [at, name] of names.entries()) {
    say(`${name} (${at + 1} of ${names.length}) …`)
    const rowStarted = performance.now()
    const outcome = await startRow(name, { rounds, quick: values.quick })
    const seconds = secondsSince(rowStarted)
    out.write(`${describeOutcome(outcome)}\n`)
    say(`${name} took ${seconds} s`)
    outcomes.push({ ...outcome, seconds })
  }
  const run: BenchRun = {
    machine: describeMachine(),
    command: `npm run bench -- ${process.argv.slice(2).join(' ')}`.replace(/ -- $/, ''),
    quick: values.quick,
    rounds,
    seconds: secondsSince(started),
    outcomes,
  }
  say(`${names.length} rows took ${run.seconds} s`)
  if (values.json) process.stdout.write(`${JSON.stringify(run, null, 2)}\n`)
  if (hasWrongResult(outcomes)) process.exitCode = 1
}

function say(line: string): void {
  process.stderr.write(`bench: ${line}\n`)
}

function secondsSince(started: number): number {
  return Math.round((performance.now() - started) / 100) / 10
}

function refuse(reason: string): void {
  process.stderr.write(`${reason}\n\n${usage}`)
  process.exitCode = 2
}
