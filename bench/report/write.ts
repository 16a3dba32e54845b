import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { BenchRun } from '../core/outcome.ts'
import { metgChart, throughputChart } from './charts.ts'
import { resultsPage } from './results.ts'
import { fillIn, scalingTables } from './scaling.ts'

const charts = [
  { row: 'noop-map', title: 'No-op tasks: throughput', file: 'throughput.svg', draw: throughputChart },
  { row: 'metg', title: 'METG(50 %): how small tasks may be', file: 'metg.svg', draw: metgChart },
] as const

/** Writes RESULTS.md, the charts and the tables of docs/scaling.md from what a run with `--json` printed. */
export function writeReport(file: string): void {
  const printed = readFileSync(file, 'utf8')
  // npm run prints two lines about itself first, unless it is told to be silent.
  const run = JSON.parse(printed.slice(printed.indexOf('{'))) as BenchRun
  const drawn = charts.filter(({ row, file: name, draw }) => {
    const outcome = run.outcomes.find(each => each.name === row)
    if (outcome === undefined || 'error' in outcome) return false
    write(new URL(`../${name}`, import.meta.url), draw(outcome.report))
    return true
  })
  write(new URL('../RESULTS.md', import.meta.url), resultsPage(run, drawn))
  const scaling = new URL('../../docs/scaling.md', import.meta.url)
  if (existsSync(scaling)) write(scaling, fillIn(readFileSync(scaling, 'utf8'), scalingTables(run)))
}

function write(file: URL, content: string): void {
  writeFileSync(file, content)
  process.stderr.write(`bench: wrote ${fileURLToPath(file)}\n`)
}
