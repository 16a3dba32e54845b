import { isRowName, rows } from './rows/index.ts'
import { WrongResultError } from './core/check.ts'
import type { RowOutcome } from './core/outcome.ts'

/** The process of one row, so that no row inherits another's heap: `run-row.ts <name> <rounds> [quick]`. */
const [, , name = '', rounds = '5', quick] = process.argv
if (!isRowName(name)) throw new Error(`There is no row ${name}.`)

const outcome = await run(name)
process.send?.(outcome, () => {
  // What a peer left open must not keep the next row waiting.
  process.exit()
})

async function run(name: keyof typeof rows): Promise<RowOutcome> {
  try {
    const { row } = await rows[name]()
    return { name, report: await row.run({ rounds: Number(rounds), quick: quick === 'quick' }) }
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    return { name, error: text, wrong: error instanceof WrongResultError }
  }
}
