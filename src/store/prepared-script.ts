import { Command } from 'ioredis'
import type { Script } from '../protocol/script.ts'
import type { Client } from './client.ts'
import { runScript } from './run-script.ts'
import type { Argument, ScriptCall } from './run-script.ts'
import { replyCode } from './reply-error.ts'

/**
 * A script with its keys and the first of its arguments, encoded once: most of a small call's bytes are the same each
 * time, and building them anew takes longer than Redis takes to run it.
 */
export class PreparedScript<R> {
  readonly script: Script<string, string, R>
  readonly keys: Readonly<Record<string, string>>
  readonly #fixed: readonly string[]
  readonly #head: Buffer

  /** `fixed`: the values of the script's first arguments. */
  static of<K extends string, A extends string, R>(
    script: Script<K, A, R>,
    keys: Readonly<Record<K, string>>,
    fixed: readonly string[],
  ): PreparedScript<R> {
    const words = ['evalsha', script.sha, String(script.keys.length), ...script.keys.map(key => keys[key]), ...fixed]
    const head = Buffer.from(words.map(word => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join(''))
    return new PreparedScript(script, keys, fixed, head)
  }

  private constructor(
    script: Script<string, string, R>,
    keys: Readonly<Record<string, string>>,
    fixed: readonly string[],
    head: Buffer,
  ) {
    this.script = script
    this.keys = keys
    this.#fixed = fixed
    this.#head = head
  }

  /** `rest`: the script's other arguments, then its `moreArgs`. Strings of them are ASCII. */
  async run(client: Client, rest: readonly Argument[]): Promise<R> {
    let reply: unknown
    try {
      reply = await client.sendCommand(new EncodedCommand(this.#encode(rest)))
    } catch (error) {
      if (replyCode(error) !== 'NOSCRIPT') throw error
      return runScript(client, this.script, this.#call(rest))
    }
    return this.script.parse(reply)
  }

  #encode(rest: readonly Argument[]): Buffer {
    const count = 3 + this.script.keys.length + this.#fixed.length + rest.length
    const begin = `*${count}\r\n`
    let bytes = begin.length + this.#head.length
    const texts: (string | Buffer)[] = []
    let text = ''
    for (const argument of rest) {
      if (typeof argument === 'object') {
        text += `$${argument.length}\r\n`
        texts.push(text, argument)
        bytes += text.length + argument.length
        text = '\r\n'
      } else {
        const word = String(argument)
        text += `$${word.length}\r\n${word}\r\n`
      }
    }
    texts.push(text)
    const encoded = Buffer.allocUnsafe(bytes + text.length)
    let at = encoded.write(begin, 'latin1')
    encoded.set(this.#head, at)
    at += this.#head.length
    for (const piece of texts) {
      if (typeof piece === 'string') at += encoded.write(piece, at, 'latin1')
      else {
        encoded.set(piece, at)
        at += piece.length
      }
    }
    return encoded
  }

  #call(rest: readonly Argument[]): ScriptCall<string, string> {
    const values = [...this.#fixed, ...rest]
    const { args } = this.script
    return {
      keys: this.keys,
      args: Object.fromEntries(args.map((name, i) => [name, values[i] ?? ''])),
      moreArgs: values.slice(args.length),
    }
  }
}

const mostKept = 64

/** Prepared calls, by what they are for; those that are used again. */
export class PreparedScripts<R> {
  readonly #known = new Map<string, PreparedScript<R>>()

  get(name: string, prepare: () => PreparedScript<R>): PreparedScript<R> {
    let prepared = this.#known.get(name)
    if (prepared === undefined) {
      if (this.#known.size >= mostKept) this.#known.clear()
      prepared = prepare()
      this.#known.set(name, prepared)
    }
    return prepared
  }
}

/** A command whose bytes are there already. */
class EncodedCommand extends Command {
  readonly #bytes: Buffer

  constructor(bytes: Buffer) {
    super('evalsha', [], { replyEncoding: null })
    this.#bytes = bytes
  }

  override toWritable(): Buffer {
    return this.#bytes
  }
}
