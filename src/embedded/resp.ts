import { connect } from 'node:net'

/** One reply of Redis, as far as the supervisor needs: a line, a bulk string, or an error. */
export type RespReply = { readonly text: string } | { readonly error: string }

/** More than any reply that the supervisor asks for. */
const REPLY_LIMIT_BYTES = 1 << 20

/**
 * Sends one command over a connection of its own and reads one reply; undefined if there was none: nobody listens,
 * the connection closed (as after SHUTDOWN), the reply is of another kind, or `timeoutMs` passed.
 */
export function askRedis(
  socketPath: string,
  command: readonly string[],
  timeoutMs: number,
): Promise<RespReply | undefined> {
  return new Promise(resolve => {
    const socket = connect(socketPath)
    let received = Buffer.alloc(0)
    const timer = setTimeout(() => socket.destroy(), timeoutMs)
    socket.on('connect', () => socket.write(encodeCommand(command)))
    socket.on('data', bytes => {
      received = Buffer.concat([received, bytes])
      const reply = parseReply(received)
      if (reply !== undefined) resolve(reply)
      if (reply !== undefined || received.length > REPLY_LIMIT_BYTES) socket.destroy()
    })
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(undefined)
    })
  })
}

/** The fields of `INFO`, by name. Empty if Redis does not answer. */
export async function askInfo(
  socketPath: string,
  section: string,
  timeoutMs: number,
): Promise<ReadonlyMap<string, string>> {
  const reply = await askRedis(socketPath, ['INFO', section], timeoutMs)
  const fields = new Map<string, string>()
  if (reply === undefined || 'error' in reply) return fields
  for (const line of reply.text.split('\r\n')) {
    const colon = line.indexOf(':')
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1))
  }
  return fields
}

function encodeCommand(command: readonly string[]): string {
  return `*${command.length}\r\n${command.map(word => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`
}

/** The reply that these bytes are; undefined while they are not a whole one. */
export function parseReply(bytes: Buffer): RespReply | undefined {
  const lineEnd = bytes.indexOf('\r\n')
  if (lineEnd < 0) return undefined
  const kind = String.fromCharCode(bytes[0] ?? 0)
  const line = bytes.toString('utf8', 1, lineEnd)
  if (kind === '-') return { error: line }
  if (kind !== '$') return { text: line }
  const start = lineEnd + 2
  const end = start + Number(line)
  return bytes.length >= end + 2 ? { text: bytes.toString('utf8', start, end) } : undefined
}
