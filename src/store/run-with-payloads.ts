import type { HeldPayload } from '../protocol/chunk.ts'
import type { Client } from './client.ts'
import { CommandBytes, EncodedCommand } from './encoded-command.ts'
import type { PreparedScript } from './prepared-script.ts'
import { replyCode } from './reply-error.ts'
import type { Argument } from './run-script.ts'

/**
 * Stores large values under fields of the script's payloads Hash and runs the script, as one transaction: both or neither.
 * As arguments of the script they would be copied twice, and Redis's Lua hashes every byte of a string. The script knows the
 * fields, and deletes them where it refuses what they are for.
 *
 * Rejections are the client's, and the first is that of the command that Redis would not queue.
 */
export async function runWithPayloads<R>(
  client: Client,
  prepared: PreparedScript<R>,
  rest: readonly Argument[],
  payloads: readonly HeldPayload[],
): Promise<R> {
  const key = Buffer.from(prepared.keys['payloads'] ?? '')
  const values = payloads.flatMap(({ field, payload }) => [field, payload])
  const work = () => [commandOf('hset', key, ...values), prepared.command(rest)]
  let reply = await transact(client, work())
  if (replyCode(reply) === 'NOSCRIPT') {
    // The values are stored, and nothing knows of them yet: the same fields again. Scripts may be flushed once more before that.
    const load = commandOf('script', 'LOAD', Buffer.from(prepared.script.source))
    reply = await transact(client, [load, ...work()])
  }
  if (reply instanceof Error) throw reply
  return prepared.script.parse(reply)
}

/** Runs commands as one transaction: all were made before the first is sent, since one that is not ended holds whatever comes after it. The last reply, which may be an error. */
async function transact(client: Client, work: readonly EncodedCommand[]): Promise<unknown> {
  // A node of a Cluster that does not serve the slot refuses each of them, and the client would send them again, alone.
  for (const command of work) command.inTransaction = true
  const commands = [commandOf('multi'), ...work, commandOf('exec')]
  const replies = await Promise.all(commands.map(command => client.sendCommand(command)))
  return (replies.at(-1) as readonly unknown[]).at(-1)
}

function commandOf(name: string, ...words: readonly Argument[]): EncodedCommand {
  return new EncodedCommand(name, CommandBytes.of(name, ...words))
}
