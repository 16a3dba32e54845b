import type { BenchRun } from '../core/outcome.ts'
import type { Measured, RowReport, Verdict } from '../core/report.ts'
import { round } from '../core/table.ts'

/** RESULTS.md: everything that a run has found, bars first. */
export function resultsPage(
  run: BenchRun,
  charts: readonly { readonly title: string; readonly file: string }[],
): string {
  const { machine } = run
  const peers = Object.entries(machine.peers).map(([name, version]) => `${name} ${version}`)
  return [
    '# What the benchmark measured',
    '',
    '<!-- Written by `npm run bench:report -- FILE`: change the benchmark, not this page. -->',
    '',
    ...(run.quick ? ['**A quick run: a look, not the numbers to publish.**', ''] : []),
    ...listed([
      ['when', machine.date],
      ['command', `\`${run.command}\` (${run.rounds} rounds, ${Math.round(run.seconds)} s in total)`],
      ['machine', `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGb} GB, ${machine.system}`],
      ['versions', `Millrace ${machine.millrace}, Node ${machine.node}, Redis ${machine.redis}, ${peers.join(', ')}`],
    ]),
    '',
    'Every side has a `redis-server` of its own with an append-only file (`everysec`) and the same settings. Sides take',
    'turns within a row, every other round in the opposite order, after one turn that does not count. Time runs from the',
    'first submit to the last result in the hands of the driver, in order; every result is held against a recomputation.',
    'Given are the median and, in brackets, the least and the most.',
    '',
    '## Bars',
    '',
    '| row | bar | reached | |',
    '|---|---|---|---|',
    ...run.outcomes.flatMap(outcome =>
      'error' in outcome
        ? [`| [${outcome.name}](#${outcome.name}) | | **could not be run** | **not met** |`]
        : outcome.report.verdicts.map(verdict => barLine(outcome.name, verdict)),
    ),
    '',
    ...charts.flatMap(({ title, file }) => [`![${title}](${file})`, '']),
    ...run.outcomes.flatMap(outcome =>
      'error' in outcome
        ? [`## ${outcome.name}`, '', '```', outcome.error, '```', '']
        : [`## ${outcome.name}`, '', ...rowSection(outcome.report)],
    ),
  ].join('\n')
}

function listed(entries: readonly (readonly [string, string])[]): string[] {
  return ['| | |', '|---|---|', ...entries.map(([what, value]) => `| ${what} | ${value} |`)]
}

function barLine(name: string, { bar, value, limit, direction, met }: Verdict): string {
  const sign = direction === 'at least' ? '≥' : '≤'
  return `| [${name}](#${name}) | ${bar} ${sign} ${round(limit)} | ${round(value)} | ${met ? 'met' : '**not met**'} |`
}

function rowSection(report: RowReport): string[] {
  return [
    `${capital(report.title)}.`,
    '',
    `| side | ${report.unit === '' ? 'value' : report.unit} | rounds | how it is used |`,
    '|---|---|---|---|',
    ...report.sides.map(sideLine),
    '',
    ...report.notes.map(note => `- ${note}`),
    ...Object.entries(report.numbers ?? {}).map(([what, value]) => `- ${what}: ${round(value)}`),
    ...(report.curves ?? []).flatMap(({ side, points }) => [
      '',
      `| ${side}: work in a task, µs | granularity, µs | efficiency |`,
      '|---|---|---|',
      ...points.map(
        ({ workUs, granularityUs, efficiency }) =>
          `| ${round(workUs)} | ${round(granularityUs)} | ${Math.round(efficiency * 100)} % |`,
      ),
    ]),
    '',
  ]
}

function sideLine({ side, median, min, max, samples, how }: Measured): string {
  return `| ${side} | ${round(median)} (${round(min)} – ${round(max)}) | ${samples.length} | ${how} |`
}

/** A sentence begins with a capital letter, but Π is not π. */
function capital(text: string): string {
  return text.replace(/^[a-z]/, letter => letter.toUpperCase())
}
