/** What both charts look like: a card of its own colour, so that it can be read on any page, light or dark. */
const style = `
  text { font: 13px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2933; }
  .card { fill: #ffffff; stroke: #d5dbe1; }
  .title { font-size: 16px; font-weight: 600; }
  .quiet { fill: #52606d; font-size: 12px; }
  .grid { stroke: #e4e8ec; }
  .limit { stroke: #7b8794; stroke-dasharray: 5 4; }
  .ours { stroke: #1d5fd1; fill: #1d5fd1; }
  .b { stroke: #b45309; fill: #b45309; }
  .c { stroke: #0f766e; fill: #0f766e; }
  .other { stroke: #7b8794; fill: #7b8794; }
  .line { fill: none; stroke-width: 2.5; stroke-linejoin: round; }
  text.ours, text.b, text.c { stroke: none; font-weight: 600; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e4e8ec; }
    .card { fill: #161b22; stroke: #303842; }
    .quiet { fill: #9aa5b1; }
    .grid { stroke: #2a323c; }
    .ours { stroke: #6ea8fe; fill: #6ea8fe; }
    .b { stroke: #f0a04b; fill: #f0a04b; }
    .c { stroke: #4fd1c5; fill: #4fd1c5; }
    .line { fill: none; }
  }`

export function svg(width: number, height: number, title: string, elements: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(title)}">`,
    `<style>${style}\n</style>`,
    `<rect class="card" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8"/>`,
    text(24, 34, title, 'title'),
    ...elements,
    '</svg>\n',
  ].join('\n')
}

export function text(
  x: number,
  y: number,
  content: string,
  className = '',
  anchor: 'start' | 'middle' | 'end' = 'start',
): string {
  return `<text x="${fixed(x)}" y="${fixed(y)}" class="${className}" text-anchor="${anchor}">${escaped(content)}</text>`
}

export function line(x1: number, y1: number, x2: number, y2: number, className: string, width = 1): string {
  return `<line x1="${fixed(x1)}" y1="${fixed(y1)}" x2="${fixed(x2)}" y2="${fixed(y2)}" class="${className}" stroke-width="${width}"/>`
}

export function dot(x: number, y: number, radius: number, className: string): string {
  return `<circle cx="${fixed(x)}" cy="${fixed(y)}" r="${radius}" class="${className}"/>`
}

export function path(points: readonly (readonly [number, number])[], className: string): string {
  return `<path class="${className}" d="M${points.map(([x, y]) => `${fixed(x)} ${fixed(y)}`).join('L')}"/>`
}

/** Places values on a log axis, and says where its decades are. */
export function logAxis(values: readonly number[], from: number, to: number) {
  const low = Math.floor(Math.log10(Math.min(...values)))
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values))))
  const at = (value: number) => from + ((Math.log10(value) - low) / (high - low)) * (to - from)
  const decades = Array.from({ length: high - low + 1 }, (_, step) => 10 ** (low + step))
  return { at, decades }
}

function fixed(value: number): string {
  return String(Math.round(value * 10) / 10)
}

function escaped(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
