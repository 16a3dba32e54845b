import { randomUUID } from 'node:crypto'
import { UsageError } from '../errors.ts'

/** A random name of `bytes` × 2 hexadecimal digits: tokens, incarnations, claims. */
export function randomName(bytes = 8): string {
  let digits = ''
  while (digits.length < 2 * bytes) digits += randomDigits()
  return digits.slice(0, 2 * bytes)
}

/** The random digits of a version 4 UUID. Node keeps random bytes ahead for these, so one costs a sixth of `randomBytes`. */
function randomDigits(): string {
  const uuid = randomUUID()
  return uuid.slice(0, 8) + uuid.slice(9, 13) + uuid.slice(15, 18) + uuid.slice(20, 23) + uuid.slice(24)
}

const idPattern = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/

/** @throws {UsageError} unless the id can stand in a key and in a chunk's header. */
export function checkJobId(id: string): string {
  // With such an end one job's record would have the name of another's List or Hash.
  if (!idPattern.test(id) || /:(chunks|results|delayed|payloads|shared)$/.test(id)) {
    throw new UsageError(
      `The job id ${JSON.stringify(id.slice(0, 60))} can't be used, because it is part of key names: give 1 to 128 letters, digits, dots, dashes, underscores and colons, beginning with a letter or digit and not ending in :chunks, :results, :delayed, :payloads or :shared.`,
    )
  }
  return id
}

/** @throws {UsageError} unless the name of a queue or namespace can stand in a hash tag. */
export function checkName(what: string, name: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) {
    throw new UsageError(
      `The ${what} ${JSON.stringify(name.slice(0, 60))} can't be used: it is 1 to 64 letters, digits, dots, dashes and underscores, and begins with a letter or digit.`,
    )
  }
  return name
}
