import { inspect, types } from 'node:util'
import { userFrames } from '../code/own-frames.ts'
import { decodeValue, encodeValue } from './values.ts'

/**
 * How what a task threw travels: as a plain record of at most 64 KB, whatever was thrown. It comes back as a plain Error
 * with the name of the original one; no class is looked up by a name that came over the wire.
 */
export type FailureRecord = ErrorRecord | ThrownRecord

/** An Error of any class. */
export interface ErrorRecord {
  readonly kind: 'error'
  readonly name: string
  readonly message: string
  /** '' where there was none. */
  readonly stack: string
  /** Own enumerable fields that can travel, like `code`, as far as they fit. */
  readonly fields?: Readonly<Record<string, unknown>>
  readonly cause?: FailureRecord
  /** Those of an AggregateError: the first ten, as far as they fit. */
  readonly errors?: readonly FailureRecord[]
}

/** Something thrown that is no Error: its value where that can travel, else a text that describes it. */
export interface ThrownRecord {
  readonly kind: 'value' | 'text'
  readonly value: unknown
}

/** The largest record, encoded. */
const maxRecordBytes = 64 * 1024
/** What an error and its own parts may take; those that it wraps get less, because they are often many. */
const outer = { message: 8 * 1024, stack: 16 * 1024, fields: 8 * 1024, thrown: 16 * 1024 }
const inner = { message: 2 * 1024, stack: 4 * 1024, fields: 1024, thrown: 2 * 1024 }
const maxNameBytes = 256
const maxTextBytes = 1024
const maxFields = 32
const maxCauses = 5
const maxErrors = 10
/** What the form of one record takes, besides its content, at most; and of one field. */
const recordBytes = 128
const fieldBytes = 8
/** How deep in a record a field can lie. */
const deepestField = 2 * maxCauses + 2
/** How many errors a record is revived to. A hostile one may contain itself, many times over. */
const maxRevived = 64

/** The record of anything that was thrown. It never throws, not even when getters or proxies do. */
export function describeFailure(thrown: unknown): FailureRecord {
  return new Description().of(thrown, 0)
}

/**
 * The error of a record. A thrown value that was no Error becomes the `cause` of an error that says so. It takes
 * anything: what is no record becomes an error that says that.
 */
export function reviveFailure(record: unknown): Error {
  const thrown = new Revival().of(record, 0)
  if (thrown instanceof Error) return thrown
  const message = `The task threw a value that is not an Error: ${inBrief(thrown)}`
  return plainError('Error', message, '', { cause: thrown })
}

class Description {
  /** What is left of the record's size. The outer errors come first. */
  #bytesLeft = maxRecordBytes

  of(thrown: unknown, depth: number): FailureRecord {
    this.#bytesLeft -= recordBytes
    const limits = depth === 0 ? outer : inner
    if (isError(thrown)) return this.#error(thrown, depth, limits)
    const whole = this.#whole(thrown, limits.thrown)
    if (whole !== undefined) return { kind: 'value', value: whole.value }
    return { kind: 'text', value: this.#text(typeof thrown === 'string' ? thrown : inBrief(thrown), limits.message) }
  }

  #error(error: object, depth: number, limits: typeof outer): ErrorRecord {
    const name = this.#text(read(error, 'name'), maxNameBytes)
    const message = this.#text(read(error, 'message'), limits.message)
    const trace = read(error, 'stack')
    const stack = this.#text(typeof trace === 'string' ? userFrames(trace) : '', limits.stack)
    const fields = this.#fields(error, limits.fields)
    const causes =
      depth < maxCauses && attempt(() => Object.hasOwn(error, 'cause'))
        ? this.#several([read(error, 'cause')], depth)
        : []
    const errors = depth < maxCauses ? this.#several(aggregated(error), depth) : []
    return {
      kind: 'error',
      name: name === '' ? 'Error' : name,
      message,
      stack,
      ...(fields.length > 0 && { fields: Object.fromEntries(fields) }),
      ...(causes[0] !== undefined && { cause: causes[0] }),
      ...(errors.length > 0 && { errors }),
    }
  }

  #several(thrown: readonly unknown[], depth: number): FailureRecord[] {
    const records: FailureRecord[] = []
    for (const one of thrown) {
      if (this.#bytesLeft < maxTextBytes) break
      records.push(this.of(one, depth + 1))
    }
    return records
  }

  #fields(error: object, limitBytes: number): [string, unknown][] {
    const fields: [string, unknown][] = []
    const keys = attempt(() => Object.keys(error).slice(0, maxFields)) ?? []
    let left = limitBytes
    for (const key of keys) {
      const bytes = Buffer.byteLength(key) + fieldBytes
      if (isReserved(key) || bytes > maxNameBytes || bytes > left || bytes > this.#bytesLeft) continue
      this.#bytesLeft -= bytes
      const before = this.#bytesLeft
      const whole = this.#whole(read(error, key), left - bytes)
      if (whole !== undefined) fields.push([key, whole.value])
      left -= bytes + before - this.#bytesLeft
    }
    return fields
  }

  /** A copy of a value that is certain to travel, if it can as a whole. A copy, since what is read twice may differ. */
  #whole(value: unknown, limitBytes: number): { value: unknown } | undefined {
    try {
      const bytes = encodeValue(value, { limitBytes: Math.min(limitBytes, this.#bytesLeft), depth: deepestField })
      this.#bytesLeft -= bytes.length
      return { value: decodeValue(bytes) }
    } catch {
      return undefined
    }
  }

  #text(text: unknown, limitBytes: number): string {
    const cut = cutText(typeof text === 'string' ? text : '', Math.min(limitBytes, Math.max(0, this.#bytesLeft)))
    this.#bytesLeft -= Buffer.byteLength(cut)
    return cut
  }
}

class Revival {
  #left = maxRevived

  of(record: unknown, depth: number): unknown {
    if (typeof record !== 'object' || record === null || --this.#left < 0 || depth > maxCauses)
      return notARecord(record)
    const kind = read(record, 'kind')
    if (kind === 'value' || kind === 'text') return read(record, 'value')
    return kind === 'error' ? this.#error(record, depth) : notARecord(record)
  }

  #error(record: object, depth: number): Error {
    const name = textOf(record, 'name')
    const options = Object.hasOwn(record, 'cause') ? { cause: this.of(read(record, 'cause'), depth + 1) } : undefined
    const error = plainError(name === '' ? 'Error' : name, textOf(record, 'message'), textOf(record, 'stack'), options)
    const errors = read(record, 'errors')
    if (Array.isArray(errors)) {
      define(
        error,
        'errors',
        errors.slice(0, maxErrors).map(inside => this.of(inside, depth + 1)),
        false,
      )
    }
    const fields = read(record, 'fields')
    if (typeof fields !== 'object' || fields === null) return error
    for (const key of Object.keys(fields).slice(0, maxFields)) {
      if (!isReserved(key)) define(error, key, read(fields, key), true)
    }
    return error
  }
}

/** A plain list of the first errors of an AggregateError. */
function aggregated(error: object): readonly unknown[] {
  const errors = read(error, 'errors')
  const items = attempt(
    () =>
      Array.isArray(errors) && Array.from({ length: Math.min(errors.length, maxErrors) }, (_, i): unknown => errors[i]),
  )
  return items === undefined || items === false ? [] : items
}

function notARecord(record: unknown): Error {
  return plainError('Error', `The task failed, but the record of its failure is malformed: ${inBrief(record)}`, '')
}

/** An Error whose stack is the given one, or none: that of this file would tell nobody anything. */
function plainError(name: string, message: string, stack: string, options?: ErrorOptions): Error {
  const error = new Error(message, options)
  if (name !== 'Error') define(error, 'name', name, false)
  define(error, 'stack', stack === '' ? `${name}: ${message}` : stack, false)
  return error
}

/** Fields with a meaning of their own, and those that would break the error's methods. */
function isReserved(key: string): boolean {
  return key === 'stack' || key === 'cause' || key === 'errors' || key in Error.prototype
}

function define(object: object, key: string, value: unknown, enumerable: boolean): void {
  Object.defineProperty(object, key, { value, enumerable, writable: true, configurable: true })
}

function textOf(record: object, key: string): string {
  const text = read(record, key)
  return typeof text === 'string' ? text : ''
}

function isError(thrown: unknown): thrown is object {
  return attempt(() => types.isNativeError(thrown) || thrown instanceof Error) === true
}

function read(object: object, key: string): unknown {
  return attempt(() => (object as Readonly<Record<string, unknown>>)[key])
}

function attempt<T>(action: () => T): T | undefined {
  try {
    return action()
  } catch {
    return undefined
  }
}

/** A value in a line. Only its outermost level is looked at, and none of its methods is called. */
function inBrief(value: unknown): string {
  const options = { depth: 0, maxArrayLength: 20, maxStringLength: 200, breakLength: Infinity, customInspect: false }
  const text = attempt(() => {
    const isLarge =
      typeof value === 'object' && value !== null && !ArrayBuffer.isView(value) && Object.keys(value).length > 100
    return isLarge ? 'a large object' : inspect(value, options)
  })
  return cutText(text ?? 'a value that cannot be read', maxTextBytes)
}

/** The beginning of a text that takes no more than so many bytes as UTF-8. Lone surrogates are replaced. */
function cutText(text: string, limitBytes: number): string {
  const bytes = Buffer.from(text.slice(0, limitBytes))
  if (text.length <= limitBytes && bytes.length <= limitBytes) return bytes.toString()
  const ellipsis = '…'
  let end = limitBytes - Buffer.byteLength(ellipsis)
  if (end < 0) return ''
  // A byte that continues a character is no place to cut.
  while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end--
  return bytes.toString('utf8', 0, end) + ellipsis
}
