import { StringDecoder } from 'node:string_decoder'

const mostLines = 20
const mostLength = 300

/** The last lines of what comes in pieces: what a process wrote before it died. Bounded, whatever comes. */
export class Tail {
  readonly #decoder = new StringDecoder('utf8')
  #lines: string[] = []
  /** A line that has not ended. */
  #open = ''

  /** Pieces need not end where lines do. */
  write(bytes: Buffer): void {
    const [first = '', ...rest] = this.#decoder.write(bytes).split('\n')
    this.#open = (this.#open + first).slice(0, mostLength)
    for (const line of rest) {
      this.add(this.#open)
      this.#open = line.slice(0, mostLength)
    }
  }

  add(line: string): void {
    if (line.trim() === '') return
    this.#lines.push(line.slice(0, mostLength))
    if (this.#lines.length > mostLines) this.#lines = this.#lines.slice(-mostLines)
  }

  /** The newest last. */
  get lines(): readonly string[] {
    return this.#open.trim() === '' ? this.#lines : [...this.#lines, this.#open].slice(-mostLines)
  }
}
