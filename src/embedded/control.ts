import { connect, type Socket } from 'node:net'

/** How often Redis forces its append only file to the disk. */
export type Appendfsync = 'everysec' | 'always'

/** What a supervisor tells everyone who connects: how things are, at once, and then every change. One JSON object per line. */
export type SupervisorReport =
  /** It does not know yet whether it is the one supervisor of the project. */
  | { readonly state: 'candidate' }
  /** To one client only, in answer to its claim, before the report that holds for it. */
  | { readonly state: 'counted' }
  /** Redis is not ready; `progress` is another number whenever the start got on. */
  | { readonly state: 'starting'; readonly progress: number }
  | { readonly state: 'ready'; readonly socketPath: string }
  | { readonly state: 'failed'; readonly reason: string }
  /** The last client has gone; the supervisor ends when Redis has saved. */
  | { readonly state: 'stopping' }

/** What a client sends to be counted as one who needs Redis. A connection without a claim is only looking. */
export interface Claim {
  readonly lingerMs: number
  readonly appendfsync: Appendfsync
}

/** A line longer than this is nothing that either side sends. */
const LINE_LIMIT_BYTES = 64 * 1024

/** The line for a report or a claim. */
export function encodeLine(message: SupervisorReport | Claim): string {
  return `${JSON.stringify(message)}\n`
}

/** The report that a line holds; undefined if it holds none that we know. */
export function parseReport(line: string): SupervisorReport | undefined {
  const fields = parseObject(line)
  switch (fields['state']) {
    case 'candidate':
    case 'counted':
    case 'stopping':
      return { state: fields['state'] }
    case 'starting':
      return typeof fields['progress'] === 'number' ? { state: 'starting', progress: fields['progress'] } : undefined
    case 'ready':
      return typeof fields['socketPath'] === 'string' ? { state: 'ready', socketPath: fields['socketPath'] } : undefined
    case 'failed':
      return typeof fields['reason'] === 'string' ? { state: 'failed', reason: fields['reason'] } : undefined
    default:
      return undefined
  }
}

/** The claim that a line holds; undefined if it holds none. */
export function parseClaim(line: string): Claim | undefined {
  const { lingerMs, appendfsync } = parseObject(line)
  if (typeof lingerMs !== 'number' || (appendfsync !== 'everysec' && appendfsync !== 'always')) return undefined
  return { lingerMs, appendfsync }
}

/** Connects to a unix socket; rejects with the operating system's error. The socket's errors are heard from then on. */
export function connectSocket(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.on('error', reject)
    socket.on('connect', () => {
      resolve(socket)
    })
  })
}

/** Calls `onLine` for each line that arrives. */
export function readLines(socket: Socket, onLine: (line: string) => void): void {
  let pending = ''
  socket.setEncoding('utf8')
  socket.on('data', (text: string) => {
    const lines = (pending + text).split('\n')
    pending = lines.pop() ?? ''
    for (const line of lines) onLine(line)
    if (pending.length > LINE_LIMIT_BYTES) socket.destroy()
  })
}

function parseObject(line: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}
