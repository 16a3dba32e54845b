import { userFrames } from './own-frames.ts'

/** What of one of our errors is told: its class may come from another copy of the package than this one. */
interface Told extends Error {
  readonly code: string
}

/** Whether it is an error of Millrace, by the classes of the copy that the script uses. */
export function isMillraceError(error: unknown, millrace: unknown): error is Told {
  const { MillraceError } = millrace as { readonly MillraceError?: abstract new () => Error }
  return MillraceError !== undefined && error instanceof MillraceError && 'code' in error
}

/** Tells on stderr of one of our errors that ended a script: its code, its message, and where in the script it was. */
export function tellUncaught(error: Told, stream: NodeJS.WritableStream = process.stderr): void {
  const { code, message, cause, stack = '' } = error
  // The stack begins with the message, which may have several lines.
  const frames = userFrames(stack.slice(stack.indexOf(message) + message.length)).trimEnd()
  stream.write(`error ${code}: ${message}${frames}\n`)
  // A cause of the same class only says the same in other words.
  const isNews = cause instanceof Error && cause.constructor !== error.constructor && !message.includes(cause.message)
  if (isNews) stream.write(`cause: ${cause.message}\n`)
}
