import { MalformedDataError } from '../errors.ts'
import { decodeRangePayload } from '../protocol/chunk.ts'
import type { ChunkHeader } from '../protocol/chunk.ts'
import { decodeBatch } from '../protocol/values.ts'

/** @throws {MalformedDataError} when the payload does not hold the inputs that the header says. */
export function inputsOf(header: ChunkHeader, payload: Uint8Array): readonly unknown[] {
  const { first, count, base } = header
  if (header.kind === 'range') {
    const { start, step } = decodeRangePayload(payload)
    const inputs = new Array<number>(count)
    for (let i = 0; i < count; i++) inputs[i] = start + step * (first + i)
    return inputs
  }
  const inputs = decodeBatch(payload)
  if (inputs.length < first - base + count) {
    throw new MalformedDataError(
      `A chunk says that it has the inputs ${first} to ${first + count - 1}, and has only ${inputs.length} from ${base} on. Something else wrote it, or it was cut off.`,
    )
  }
  return first === base && inputs.length === count ? inputs : inputs.slice(first - base, first - base + count)
}
