/**
 * Messages on the control channel. Each is a hint or a broadcast: a worker that misses one finds the truth in Redis at
 * its next poll, except that one task of a job which goes on was cancelled: that task runs to its end. One line of words;
 * a broadcast has its encoded input after the line.
 */
export type ControlMessage =
  /** A job has so many chunks on a lane that no thread which waits there takes at once. */
  | { readonly type: 'work'; readonly lane: number; readonly chunks: number }
  | { readonly type: 'joined' | 'left'; readonly worker: string }
  /** Running tasks of this job are to stop: all of it, or one index. */
  | { readonly type: 'cancel'; readonly job: string; readonly incarnation: string; readonly index: number | undefined }
  /** Every thread runs the task once and answers into the broadcast's Hash and to the reply channel. */
  | {
      readonly type: 'broadcast'
      readonly id: string
      readonly hash: string
      readonly lane: number
      readonly deadlineMs: number
      readonly replyChannel: string
      readonly task: string
      readonly input: Buffer
    }

export function encodeControl(message: ControlMessage): Buffer {
  switch (message.type) {
    case 'work':
      return Buffer.from(`work ${message.lane} ${message.chunks}`)
    case 'joined':
    case 'left':
      return Buffer.from(`${message.type} ${message.worker}`)
    case 'cancel':
      return Buffer.from(`cancel ${message.job} ${message.incarnation} ${message.index ?? '*'}`)
    case 'broadcast': {
      const { id, hash, lane, deadlineMs, replyChannel, task, input } = message
      return Buffer.concat([
        Buffer.from(`broadcast ${id} ${hash} ${lane} ${deadlineMs} ${replyChannel} ${task}\n`),
        input,
      ])
    }
  }
}

/** The message, or undefined for bytes that are none: the channel is open to anybody, so they are ignored. */
export function decodeControl(bytes: Buffer): ControlMessage | undefined {
  const end = bytes.subarray(0, lineLimitBytes).indexOf(0x0a)
  if (end < 0 && bytes.length > lineLimitBytes) return undefined
  const words = bytes.toString('utf8', 0, end < 0 ? bytes.length : end).split(' ')
  const [type, first = '', second = '', third = ''] = words
  switch (type) {
    case 'work': {
      const message = { lane: Number(first || NaN), chunks: Number(second || NaN) }
      return Number.isInteger(message.lane) && message.chunks > 0 ? { type, ...message } : undefined
    }
    case 'joined':
    case 'left':
      return first === '' ? undefined : { type, worker: first }
    case 'cancel':
      if (second === '' || !/^(\*|\d{1,15})$/.test(third)) return undefined
      return { type, job: first, incarnation: second, index: third === '*' ? undefined : Number(third) }
    case 'broadcast': {
      const [, id = '', hash = '', lane = '', deadlineMs = '', replyChannel = '', ...name] = words
      const task = name.join(' ')
      if (end < 0 || task === '' || !/^\d{1,9}$/.test(lane) || !(isWhole(deadlineMs) && Number(deadlineMs) > 0))
        return undefined
      const numbers = { lane: Number(lane), deadlineMs: Number(deadlineMs) }
      return { type, id, hash, replyChannel, ...numbers, task, input: bytes.subarray(end + 1) }
    }
    default:
      return undefined
  }
}

const lineLimitBytes = 2048

function isWhole(word: string): boolean {
  return /^\d{1,15}$/.test(word)
}
