import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { describeMachine } from './core/machine.ts'
import type { RowOutcome } from './core/outcome.ts'
import { describeOutcome } from './core/table.ts'
import { installPeers } from './install-peers.ts'
import { isRowName, rows } from './rows/index.ts'

/**
 * `npm run bench [-- NAME…] [--json] [--quick] [--rounds N] [--install-python-peers]`. The table goes to stderr with
 * `--json`, and one JSON document to stdout. A missed bar fails nothing; a wrong result ends with 1.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    'install-python-peers': { type: 'boolean', default: false },
  },
})

const known = Object.keys(rows)
const unknown = positionals.filter(name => !isRowName(name))
if (unknown.length > 0) {
  process.stderr.write(`There is no row ${unknown.join(', ')}. The rows are ${known.join(', ')}.\n`)
  process.exit(2)
}
await installPeers({ python: values['install-python-peers'] })

const out = values.json ? process.stderr : process.stdout
const rounds = Number(values.rounds ?? (values.quick ? 2 : 5))
const outcomes: RowOutcome[] = []
for (const name of positionals.length > 0 ? positionals : known) {
  const outcome = await runRow(name)
  out.write(`${describeOutcome(outcome)}\n`)
  outcomes.push(outcome)
}
if (values.json) {
  const command = `npm run bench -- ${process.argv.slice(2).join(' ')}`.trim()
  process.stdout.write(`${JSON.stringify({ machine: describeMachine(), command, rounds, outcomes }, null, 2)}\n`)
}
if (outcomes.some(outcome => 'error' in outcome)) process.exitCode = 1

function runRow(name: string): Promise<RowOutcome> {
  return new Promise(resolve => {
    const args = [name, String(rounds), ...(values.quick ? ['quick'] : [])]
    const child = fork(fileURLToPath(new URL('./run-row.ts', import.meta.url)), args, {
      execArgv: ['--import', import.meta.resolve('tsx')],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    let outcome: RowOutcome | undefined
    child.on('message', message => {
      outcome = message as RowOutcome
    })
    child.once('exit', (code, signal) => {
      resolve(outcome ?? { name, error: `Its process ended with ${signal ?? `code ${code}`} before it said anything.` })
    })
  })
}
