import type { Script } from '../protocol/script.ts'
import type { Client } from './client.ts'
import { CommandBytes, EncodedCommand } from './encoded-command.ts'
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
    return new PreparedScript(script, keys, fixed)
  }

  private constructor(
    script: Script<string, string, R>,
    keys: Readonly<Record<string, string>>,
    fixed: readonly string[],
  ) {
    this.script = script
    this.keys = keys
    this.#fixed = fixed
    const words = [script.sha, String(script.keys.length), ...script.keys.map(key => keys[key]!), ...fixed]
    this.#head = Buffer.from(['evalsha', ...words].map(word => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join(''))
  }

  /** `rest`: the script's other arguments, then its `moreArgs`. Strings of them are ASCII, and Buffers must not change until the answer. */
  async run(client: Client, rest: readonly Argument[]): Promise<R> {
    let reply: unknown
    try {
      reply = await client.sendCommand(this.command(rest))
    } catch (error) {
      if (replyCode(error) !== 'NOSCRIPT') throw error
      return runScript(client, this.script, this.#call(rest))
    }
    return this.script.parse(reply)
  }

  /** The call as a command that sends the script's digest. */
  command(rest: readonly Argument[]): EncodedCommand {
    const bytes = new CommandBytes()
    bytes.text(`*${3 + this.script.keys.length + this.#fixed.length + rest.length}\r\n`)
    bytes.bytes(this.#head)
    for (const argument of rest) bytes.argument(argument)
    return new EncodedCommand('evalsha', bytes)
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
