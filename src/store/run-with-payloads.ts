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
  const reply = await transact(client, prepared, rest, payloads)
  if (!(reply instanceof Error)) return prepared.script.parse(reply)
  if (replyCode(reply) !== 'NOSCRIPT') throw reply
  // The values are stored, and nothing knows of them yet: the same fields again.
  await client.script('LOAD', prepared.script.source)
  const again = await transact(client, prepared, rest, payloads)
  if (again instanceof Error) throw again
  return prepared.script.parse(again)
}

/** The script's reply, which may be an error. */
async function transact<R>(
  client: Client,
  prepared: PreparedScript<R>,
  rest: readonly Argument[],
  payloads: readonly HeldPayload[],
): Promise<unknown> {
  const key = Buffer.from(prepared.keys['payloads'] ?? '')
  const values = payloads.flatMap(({ field, payload }) => [field, payload])
  // All are made before the first is sent: a transaction that is not ended would hold whatever comes after it.
  const commands = [commandOf('multi'), commandOf('hset', key, ...values), prepared.command(rest), commandOf('exec')]
  const replies = await Promise.all(commands.map(command => client.sendCommand(command)))
  return (replies[3] as readonly unknown[])[1]
}

function commandOf(name: string, ...words: readonly Argument[]): EncodedCommand {
  return new EncodedCommand(name, CommandBytes.of(name, ...words))
}
