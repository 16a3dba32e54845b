import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { RowOutcome } from './core/outcome.ts'
import type { RowContext } from './rows/row.ts'

/** Longer than any row takes on a busy machine: whatever hangs must not keep the other rows waiting. */
const withinMs = 300_000

/** Runs one row in a process of its own. Never rejects: whatever happens to it is its outcome. */
export function startRow(name: string, { rounds, quick }: RowContext): Promise<RowOutcome> {
  return new Promise(resolve => {
    const args = [name, String(rounds), ...(quick ? ['quick'] : [])]
    const child = fork(fileURLToPath(new URL('./run-row.ts', import.meta.url)), args, {
      execArgv: ['--import', import.meta.resolve('tsx')],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    let outcome: RowOutcome | undefined
    let late = false
    const timer = setTimeout(() => {
      late = true
      child.kill('SIGKILL')
    }, withinMs)
    child.on('message', message => {
      outcome = message as RowOutcome
    })
    child.once('exit', (code, signal) => {
      clearTimeout(timer)
      const ended = late ? `was not done after ${withinMs / 1000} s` : `ended with ${signal ?? `code ${String(code)}`}`
      resolve(outcome ?? { name, error: `Its process ${ended} and said nothing.`, wrong: false })
    })
  })
}
