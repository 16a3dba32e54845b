import { formatDuration, formatRate, groupDigits } from '../words.ts'

/** What a progress line shows. */
export interface ProgressView {
  readonly label: string
  readonly done: number
  readonly total: number | undefined
  readonly running: number
  readonly failed: number
  readonly perSecond: number | undefined
  readonly remainingMs: number | undefined
  /** What the job waits for while nothing runs. */
  readonly waitingFor: string | undefined
}

const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉']
const WIDEST_BAR = 30
const NARROWEST_BAR = 8

/** One line for a terminal that is `columns` wide, never longer. */
export function progressBar(view: ProgressView, columns: number): string {
  const facts = describe(view).join(' · ')
  const head = `${view.label}  `
  const room = columns - 1 - head.length - facts.length - 2
  const share = fraction(view)
  const bar = share === undefined || room < NARROWEST_BAR ? '' : `${renderBar(share, Math.min(WIDEST_BAR, room))}  `
  return truncate(head + bar + facts, columns - 1)
}

/** One line for a log. */
export function progressLine(view: ProgressView): string {
  return `${view.label}: ${describe(view).join(', ')}`
}

/** `width` cells, filled from the left to an eighth of a cell. */
export function renderBar(share: number, width: number): string {
  const eighths = Math.floor(Math.min(1, Math.max(0, share)) * width * 8)
  const filled = '█'.repeat(eighths >> 3) + (EIGHTHS[eighths & 7] ?? '')
  return filled + '░'.repeat(width - [...filled].length)
}

function describe(view: ProgressView): string[] {
  const { done, total, running, failed, perSecond, remainingMs, waitingFor } = view
  const share = fraction(view)
  const facts = [
    // Rounded down: 100 % is said when all is done, not before.
    share === undefined ? '' : `${Math.floor(share * 100)} %`,
    total === undefined ? `${groupDigits(done)} done` : `${groupDigits(done)}/${groupDigits(total)}`,
    perSecond === undefined ? '' : formatRate(perSecond),
    `${groupDigits(running)} in flight`,
    `${groupDigits(failed)} failed`,
  ]
  if (waitingFor !== undefined) facts.push(`waits: ${waitingFor}`)
  else if (total !== undefined && done < total)
    facts.push(remainingMs === undefined ? '' : `${formatDuration(remainingMs)} left`)
  return facts.filter(fact => fact !== '')
}

function fraction({ done, total }: ProgressView): number | undefined {
  return total === undefined || total === 0 ? undefined : done / total
}

function truncate(text: string, width: number): string {
  const characters = [...text]
  return characters.length <= width ? text : `${characters.slice(0, Math.max(0, width - 1)).join('')}…`
}
