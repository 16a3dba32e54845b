import { inspect } from 'node:util'
import { MalformedDataError } from '../errors.ts'
import { decodeRangePayload } from './chunk.ts'
import type { ChunkHeader } from './chunk.ts'
import { decodeBatch } from './values.ts'

/** @throws {MalformedDataError} when the payload does not hold the inputs that the header says. */
export function inputsOf(header: ChunkHeader, payload: Uint8Array): readonly unknown[] {
  const { first, count, base } = header
  if (header.kind === 'range') {
    const { start, step } = decodeRangePayload(payload)
    const inputs = new Array<number>(count)
    for (let i = 0; i < count; i++) inputs[i] = start + step * (first + i)
    return inputs
  }
  // A held payload was read for this chunk alone.
  const inputs = decodeBatch(payload, { givenAway: header.kind === 'held' })
  if (inputs.length < first - base + count) {
    throw new MalformedDataError(
      `A chunk says that it has the inputs ${first} to ${first + count - 1}, and has only ${inputs.length} from ${base} on. Something else wrote it, or it was cut off.`,
    )
  }
  return first === base && inputs.length === count ? inputs : inputs.slice(first - base, first - base + count)
}

/** Larger payloads are not decoded for the sake of a line of text. */
const mostPreviewedBytes = 8 * 1024 * 1024
const mostPreviewedCharacters = 300

/** The beginning of one task's input, for a person to recognise it by; never throws, whatever the payload holds. */
export function inputPreview(header: ChunkHeader, payload: Uint8Array, index = header.first): string {
  if (payload.length > mostPreviewedBytes) return `${payload.length} bytes`
  try {
    const input = inputsOf({ ...header, first: index, count: 1 }, payload)[0]
    const options = { depth: 2, maxArrayLength: 8, maxStringLength: 120, breakLength: Infinity, customInspect: false }
    const text = inspect(input, options)
    return text.length > mostPreviewedCharacters ? `${text.slice(0, mostPreviewedCharacters)}…` : text
  } catch {
    return 'not readable'
  }
}
