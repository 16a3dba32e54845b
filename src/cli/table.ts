import { stripVTControlCharacters } from 'node:util'

/** One column: its title, and on which side its cells end together. */
export interface Column {
  readonly title: string
  readonly align?: 'left' | 'right'
}

/** Rows of cells as lines of text, each column as wide as its widest cell. */
export function renderTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const lines = [columns.map(column => column.title), ...rows]
  const widths = columns.map((_, index) => Math.max(...lines.map(cells => width(cells[index] ?? ''))))
  return lines
    .map(cells =>
      columns
        .map((column, index) => pad(cells[index] ?? '', widths[index] ?? 0, column.align))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

function pad(cell: string, to: number, align: Column['align']): string {
  const space = ' '.repeat(Math.max(0, to - width(cell)))
  return align === 'right' ? space + cell : cell + space
}

function width(cell: string): number {
  return [...stripVTControlCharacters(cell)].length
}
