import type { RowOutcome } from './outcome.ts'
import type { Measured, RowReport, Verdict } from './report.ts'

/** A row as lines of text. */
export function describeOutcome(outcome: RowOutcome): string {
  if ('error' in outcome) return `${outcome.name}: ${outcome.wrong ? 'WRONG RESULT' : 'FAILED'}\n${outcome.error}\n`
  return describeReport(outcome.name, outcome.report)
}

function describeReport(name: string, report: RowReport): string {
  const width = Math.max(...report.sides.map(({ side }) => side.length), 0)
  const sides = report.sides.map(side => `  ${side.side.padEnd(width)}  ${describeMeasured(side)} ${report.unit}`)
  const numbers = Object.entries(report.numbers ?? {}).map(([what, value]) => `  ${what}: ${round(value)}`)
  return [
    `${name}: ${report.title}`,
    ...sides,
    ...numbers,
    ...report.verdicts.map(verdict => `  ${describeVerdict(verdict)}`),
    ...report.notes.map(note => `  · ${note}`),
    '',
  ].join('\n')
}

export function describeMeasured({ median, min, max, samples }: Measured): string {
  return `${round(median).padStart(9)}  (${round(min)} – ${round(max)}, ${samples.length} rounds)`
}

export function describeVerdict({ bar, value, limit, direction, met }: Verdict): string {
  return `${met ? 'met ' : 'MISS'}  ${bar}: ${round(value)}, bar ${direction === 'at least' ? '≥' : '≤'} ${round(limit)}`
}

/** Three digits that matter, and thousands apart. */
export function round(value: number): string {
  if (!Number.isFinite(value)) return String(value)
  if (Math.abs(value) >= 1000) return Math.round(Number(value.toPrecision(4))).toLocaleString('en-US')
  return String(Number(value.toPrecision(3)))
}
