import type { Style } from '../style.ts'
import { renderTable } from '../table.ts'
import { formatDuration, formatRate, groupDigits } from '../words.ts'
import type { JobReport, WordReport } from './demo.ts'

/** The demo's result as text. */
export function renderDemo(reports: readonly JobReport[], counted: WordReport, style: Style): string {
  const table = renderTable(
    [
      { title: 'job' },
      { title: 'answer', align: 'right' },
      { title: 'check' },
      { title: 'tasks', align: 'right' },
      { title: 'tasks/s', align: 'right' },
      { title: 'wall time', align: 'right' },
      { title: 'one thread', align: 'right' },
      { title: 'speed-up', align: 'right' },
    ],
    reports.map(report => [
      report.job,
      style.bold(groupDigits(report.answer)),
      report.correct ? style.green(`✓ ${report.check}`) : style.red(`✗ ${report.check}`),
      groupDigits(report.tasks),
      formatRate(tasksPerSecond(report)).replace('/s', ''),
      formatDuration(report.wallMs),
      formatDuration(report.oneThreadMs),
      `${speedUp(report).toFixed(2)} ×`,
    ]),
  )
  const top = counted.top.map(([word, count]) => `${word} ${groupDigits(count)}`)
  return `${table}\n\n${style.dim('most frequent words')}\n${wrap(top)}\n`
}

/** Items in lines of their own words, none much longer than the table. */
function wrap(items: readonly string[]): string {
  const lines: string[] = []
  for (const item of items) {
    const last = lines.at(-1)
    if (last === undefined || last.length + item.length > 90) lines.push(item)
    else lines[lines.length - 1] = `${last} · ${item}`
  }
  return lines.join('\n')
}

/** The demo's result as data. */
export function demoData(report: JobReport | WordReport): object {
  return { ...report, tasksPerSecond: tasksPerSecond(report), speedUp: speedUp(report) }
}

function tasksPerSecond({ tasks, wallMs }: JobReport): number {
  return (tasks * 1000) / wallMs
}

function speedUp({ wallMs, oneThreadMs }: JobReport): number {
  return oneThreadMs / wallMs
}
