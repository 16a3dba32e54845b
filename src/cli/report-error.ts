import { MillraceError } from '../errors.ts'
import type { OutputFlags } from './options.ts'
import { styleFor } from './style.ts'

/** An error in words: its stable code, its message, and what caused it where the message does not say so. */
export interface ToldError {
  readonly code: string
  readonly message: string
  readonly cause?: string
}

/** Tells on stderr what went wrong: our own errors say all in their message, and stacks are for those who ask. */
export function reportError(
  error: unknown,
  { json, debug }: OutputFlags,
  stream: NodeJS.WriteStream = process.stderr,
): void {
  const told = describeError(error)
  const stack = debug === true && error instanceof Error ? error.stack : undefined
  if (json === true) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : told.cause
    stream.write(`${JSON.stringify({ error: { ...told, cause, stack } })}\n`)
    return
  }
  const style = styleFor(stream)
  stream.write(`${style.red(style.bold('error'))} ${told.code}: ${told.message}\n`)
  if (told.cause !== undefined) stream.write(style.dim(`cause: ${told.cause}\n`))
  if (stack !== undefined) stream.write(style.dim(`${stack}\n`))
}

/** What {@link reportError} says of an error. */
export function describeError(error: unknown): ToldError {
  if (!(error instanceof MillraceError)) {
    const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
    return {
      code: 'UNEXPECTED',
      message: `${message.replace(/\.$/, '')}. Millrace did not expect this: run the command again with --debug, and report what it prints.`,
    }
  }
  const { code, message } = error
  const cause = error.cause instanceof Error ? error.cause.message : ''
  return cause === '' || message.includes(cause.replace(/\.$/, '')) ? { code, message } : { code, message, cause }
}
