import type { Writable } from 'node:stream'
import { Command } from './ioredis.ts'
import type { Argument } from './run-script.ts'

/** What is longer than this goes to the socket as it is; what is shorter is copied together. */
const largeBytes = 16 * 1024

/** A command in RESP, built piece by piece. */
export class CommandBytes {
  readonly #done: Buffer[] = []
  /** What is still to be written together. */
  #small: (string | Buffer)[] = []
  #smallBytes = 0
  #text = ''

  /** A whole command of these words. A list of Buffers is one word, in pieces. */
  static of(...words: readonly Argument[]): CommandBytes {
    const bytes = new CommandBytes()
    bytes.text(`*${words.length}\r\n`)
    for (const word of words) bytes.argument(word)
    return bytes
  }

  /** One word. Strings are ASCII. */
  argument(argument: Argument): void {
    if (typeof argument !== 'object') {
      const word = String(argument)
      this.text(`$${word.length}\r\n${word}\r\n`)
      return
    }
    const parts = Buffer.isBuffer(argument) ? [argument] : argument
    this.text(`$${parts.reduce((bytes, { length }) => bytes + length, 0)}\r\n`)
    for (const part of parts) this.bytes(part)
    this.text('\r\n')
  }

  /** ASCII. */
  text(text: string): void {
    this.#text += text
  }

  bytes(bytes: Buffer): void {
    if (bytes.length > largeBytes) {
      this.#flush()
      this.#done.push(bytes)
      return
    }
    this.#endText()
    this.#small.push(bytes)
    this.#smallBytes += bytes.length
  }

  /** The pieces, at least one. */
  finish(): readonly Buffer[] {
    this.#flush()
    return this.#done
  }

  #endText(): void {
    if (this.#text === '') return
    this.#small.push(this.#text)
    this.#smallBytes += this.#text.length
    this.#text = ''
  }

  #flush(): void {
    this.#endText()
    const bytes = Buffer.allocUnsafe(this.#smallBytes)
    let at = 0
    for (const piece of this.#small) {
      if (typeof piece === 'string') at += bytes.write(piece, at, 'latin1')
      else {
        bytes.set(piece, at)
        at += piece.length
      }
    }
    this.#done.push(bytes)
    this.#small = []
    this.#smallBytes = 0
  }
}

/** A command whose bytes are there already. They must stay as they are until it is answered. */
export class EncodedCommand extends Command {
  readonly #pieces: readonly Buffer[]

  constructor(name: string, bytes: CommandBytes) {
    super(name, [], { replyEncoding: null })
    this.#pieces = bytes.finish()
  }

  /** The client writes what this returns. What comes before it is written here, in one go with whatever else this turn sends. */
  override toWritable(socket: object): Buffer {
    const stream = socket as Writable
    const last = this.#pieces.length - 1
    if (last > 0) {
      stream.cork()
      for (const piece of this.#pieces.slice(0, last)) stream.write(piece)
      process.nextTick(() => {
        if (!stream.destroyed) stream.uncork()
      })
    }
    return this.#pieces[last]!
  }
}
