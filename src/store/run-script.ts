import type { Script } from '../protocol/script.ts'
import type { Client } from './client.ts'
import { replyCode } from './reply-error.ts'

/** A list of Buffers is one argument, in pieces. */
export type Argument = string | number | Buffer | readonly Buffer[]

/** The keys and arguments of one call, by their names in the script's definition. */
export interface ScriptCall<K extends string, A extends string> {
  readonly keys: Readonly<Record<K, string>>
  readonly args: Readonly<Record<A, Argument>>
  readonly moreKeys?: readonly string[]
  readonly moreArgs?: readonly Argument[]
}

/**
 * Runs a script by its digest, and by its text where Redis does not know it (a restart, `SCRIPT FLUSH`). A NOSCRIPT
 * reply means that nothing ran, so sending it again is safe.
 */
export async function runScript<K extends string, A extends string, R>(
  client: Client,
  script: Script<K, A, R>,
  call: ScriptCall<K, A>,
): Promise<R> {
  const { keys, args, moreKeys = [], moreArgs = [] } = call
  const rest: (string | number | Buffer)[] = [script.keys.length + moreKeys.length]
  for (const key of script.keys) rest.push(keys[key])
  rest.push(...moreKeys)
  for (const arg of script.args) rest.push(whole(args[arg]))
  for (const arg of moreArgs) rest.push(whole(arg))
  let reply: unknown
  try {
    reply = await client.callBuffer('evalsha', [script.sha, ...rest])
  } catch (error) {
    if (replyCode(error) !== 'NOSCRIPT') throw error
    reply = await client.callBuffer('eval', [script.source, ...rest])
  }
  return script.parse(reply)
}

function whole(argument: Argument): string | number | Buffer {
  return typeof argument !== 'object' || Buffer.isBuffer(argument) ? argument : Buffer.concat(argument)
}
