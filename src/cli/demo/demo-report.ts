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
      style.bold(report.answer),
      report.correct ? style.green(`✓ ${report.check}`) : style.red(`✗ not ${report.check}`),
      groupDigits(report.tasks),
      formatRate(tasksPerSecond(report)).replace('/s', ''),
      formatDuration(report.wallMs),
      formatDuration(report.oneThreadMs),
      `${speedUp(report).toFixed(2)} ×`,
    ]),
  )
  const top = counted.top.map(([word, count]) => `${word} ${groupDigits(count)}`).join(' · ')
  return `${table}\n\nMost frequent words: ${top}\n`
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
