/** Where text goes, as far as its looks depend on it. */
export interface Terminal {
  readonly isTTY?: boolean
}

/** Colours for one stream: each function gives its text back unchanged where colours are not wanted. */
export interface Style {
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
  readonly red: (text: string) => string
  readonly green: (text: string) => string
  readonly yellow: (text: string) => string
  readonly cyan: (text: string) => string
}

/** Whether colours are wanted: `FORCE_COLOR` decides, then `NO_COLOR` (no-color.org), then whether a person looks on. */
export function wantsColour(stream: Terminal, env: NodeJS.ProcessEnv = process.env): boolean {
  const { FORCE_COLOR: forced, NO_COLOR: refused, TERM: terminal } = env
  if (forced !== undefined) return forced !== '0' && forced !== 'false'
  if (refused !== undefined && refused !== '') return false
  return stream.isTTY === true && terminal !== 'dumb'
}

/** The style for a stream. */
export function styleFor(stream: Terminal, env: NodeJS.ProcessEnv = process.env): Style {
  const coloured = wantsColour(stream, env)
  const paint = (on: number, off: number) => (text: string) =>
    coloured && text !== '' ? `\u001B[${on}m${text}\u001B[${off}m` : text
  return {
    bold: paint(1, 22),
    dim: paint(2, 22),
    red: paint(31, 39),
    green: paint(32, 39),
    yellow: paint(33, 39),
    cyan: paint(36, 39),
  }
}
