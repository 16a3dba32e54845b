import { MalformedDataError } from '../errors.ts'
import { describeFailure, reviveFailure } from './failure.ts'
import { decodeValue, encodeValue } from './values.ts'

/** What a thread answers to a broadcast: what the task returned there, or threw. */
export type Answer = { readonly value: unknown } | { readonly error: Error }

export function encodeAnswer(value: unknown): Buffer {
  return encodeValue({ ok: true, value })
}

export function encodeFailedAnswer(error: unknown): Buffer {
  return encodeValue({ ok: false, error: describeFailure(error) })
}

/** Takes any bytes: those that are no answer are the error of the one thread that they stand for. */
export function decodeAnswer(bytes: Uint8Array): Answer {
  try {
    const answer = decodeValue(bytes)
    if (typeof answer === 'object' && answer !== null) {
      if (Object.hasOwn(answer, 'error')) return { error: reviveFailure((answer as { error: unknown }).error) }
      if (Object.hasOwn(answer, 'value')) return { value: (answer as { value: unknown }).value }
    }
  } catch {
    // Told below, like any other bytes that are none.
  }
  return {
    error: new MalformedDataError(
      "A thread's answer to the broadcast can't be read: something else wrote into the Hash of its answers. Broadcast again.",
    ),
  }
}
