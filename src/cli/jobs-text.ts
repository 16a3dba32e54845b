import type { JobView } from '../store/inspect/reports.ts'
import type { QuarantinedTask } from '../protocol/evidence.ts'
import { inputPreview } from '../protocol/inputs.ts'
import type { Style } from './style.ts'
import { renderTable } from './table.ts'
import { formatDuration, groupDigits } from './words.ts'

/** A job, and what it waits for in words; undefined while it waits for nothing. */
export interface JobLine {
  readonly job: JobView
  readonly waitsFor: string | undefined
}

/** The jobs as a table, the newest first. */
export function renderJobs(lines: readonly JobLine[], nowMs: number, style: Style): string {
  return renderTable(
    [
      { title: 'job' },
      { title: 'task' },
      { title: 'age', align: 'right' },
      { title: 'done', align: 'right' },
      { title: 'of', align: 'right' },
      { title: 'running', align: 'right' },
      { title: 'failed', align: 'right' },
      { title: 'waits for' },
    ],
    lines.map(({ job, waitsFor }) => [
      style.bold(job.id),
      job.task,
      formatDuration(Math.max(0, nowMs - job.createdAtMs)),
      groupDigits(job.done),
      total(job),
      groupDigits(job.running),
      job.failed === 0 ? '0' : style.red(groupDigits(job.failed)),
      waitsFor ?? '',
    ]),
  )
}

/** One job with all that is known of it. */
export function renderJob({ job, waitsFor }: JobLine, nowMs: number, style: Style): string {
  const facts: [name: string, value: string | undefined][] = [
    ['task', job.task],
    ['state', job.state],
    ['code', job.hash],
    ['created', `${formatDuration(Math.max(0, nowMs - job.createdAtMs))} ago`],
    [
      'inputs',
      job.total === undefined
        ? `${groupDigits(job.submitted)} submitted so far`
        : `${groupDigits(job.submitted)} submitted of ${groupDigits(job.total)}`,
    ],
    ['waiting', groupDigits(job.waiting)],
    ['running', groupDigits(job.running)],
    ['retrying', groupDigits(job.delayed)],
    ['done', groupDigits(job.done)],
    ['failed', groupDigits(job.failed)],
    ['collected', groupDigits(job.released)],
    ['priority', String(job.priority)],
    ['driver', job.detached ? 'not needed: detached' : undefined],
    ['kept for', job.expiresInMs === undefined ? undefined : formatDuration(job.expiresInMs)],
    ['waits for', waitsFor ?? 'nothing'],
  ]
  const rows = facts.flatMap(([name, value]) => (value === undefined ? [] : [[style.dim(name), value]]))
  return renderTable([{ title: style.bold('job') }, { title: style.bold(job.id) }], rows)
}

/** Quarantined tasks, each with what it did. */
export function renderQuarantine(tasks: readonly QuarantinedTask[], nowMs: number, style: Style): string {
  const lines = tasks.map(({ job, index, at, worker, evidence, chunk }) => {
    const when = at === 0 ? '' : `${formatDuration(Math.max(0, nowMs - at))} ago, `
    const called =
      chunk === undefined ? [] : [`task ${chunk.header.task}, input ${inputPreview(chunk.header, chunk.payload)}`]
    return [
      `  ${style.bold(`${job}/${index}`)}  ${when}last on ${worker}`,
      ...called.map(line => `    ${line}`),
      ...evidence.map(line => style.dim(`    ${line}`)),
    ].join('\n')
  })
  return [`${style.yellow('In quarantine')}, because they took their thread or process down each time:`, ...lines].join(
    '\n',
  )
}

function total({ total: inputs, submitted }: JobView): string {
  return inputs === undefined ? `≥ ${groupDigits(submitted)}` : groupDigits(inputs)
}
