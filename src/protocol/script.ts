import { createHash } from 'node:crypto'
import { MalformedDataError } from '../errors.ts'

/**
 * A Lua script as a typed value: callers pass keys and arguments by name, and the script reads them by the same names
 * (`partKey`, `leaseMs`), bound by a generated prelude. No position is written twice.
 */
export interface Script<K extends string = string, A extends string = string, R = unknown> {
  readonly name: string
  readonly keys: readonly K[]
  readonly args: readonly A[]
  readonly source: string
  readonly sha: string
  /** @throws {MalformedDataError} when the reply is not one that the script gives. */
  readonly parse: (reply: unknown) => R
}

export interface ScriptDefinition<K extends string, A extends string, R> {
  readonly name: string
  /**
   * `allow-oom`: may run when Redis is over `maxmemory`. Everything but submitting is, so that a full Redis drains.
   */
  readonly flags?: readonly ('allow-oom' | 'no-writes')[]
  /** In the script `<name>Key`. Keys beyond these are the caller's `moreKeys`, from `KEYS[moreKeysFrom]`. */
  readonly keys: readonly K[]
  /** In the script `<name>`, a string. Arguments beyond these are the caller's `moreArgs`, from `ARGV[moreArgsFrom]`. */
  readonly args: readonly A[]
  readonly reply: (reply: unknown) => R
  /** Shared Lua functions, put before the script in this order. */
  readonly uses?: readonly string[]
  readonly lua: string
}

export function defineScript<const K extends string, const A extends string, R>(
  definition: ScriptDefinition<K, A, R>,
): Script<K, A, R> {
  const { name, keys, args, flags = [] } = definition
  const prelude = [
    ...keys.map((key, index) => `local ${key}Key = KEYS[${index + 1}]`),
    ...args.map((arg, index) => `local ${arg} = ARGV[${index + 1}]`),
    `local moreKeysFrom, moreArgsFrom = ${keys.length + 1}, ${args.length + 1}`,
  ]
  // An empty flag list still needs the shebang: without it Redis treats the script as of the old kind, which starts
  // over the memory limit and fails in the middle.
  const shebang = flags.length > 0 ? `#!lua flags=${flags.join(',')}` : '#!lua'
  const source = [shebang, ...prelude, ...(definition.uses ?? []), definition.lua].join('\n')
  return { name, keys, args, source, sha: createHash('sha1').update(source).digest('hex'), parse: definition.reply }
}

// Reply readers -------------------------------------------------------------------------------------------------------

/** A reply that is exactly one of these words. */
export function oneOf<const W extends string>(...words: readonly W[]): (reply: unknown) => W {
  return reply => {
    const word = text(reply)
    const found = words.find(known => known === word)
    if (found === undefined) throw unexpected(reply)
    return found
  }
}

/** A reply as an array. */
export function array(reply: unknown): readonly unknown[] {
  if (!Array.isArray(reply)) throw unexpected(reply)
  return reply as readonly unknown[]
}

/** A bulk or status reply as text. */
export function text(reply: unknown): string {
  if (typeof reply === 'string') return reply
  if (Buffer.isBuffer(reply)) return reply.toString('utf8')
  if (typeof reply === 'number') return String(reply)
  throw unexpected(reply)
}

/** An integer reply, or a bulk reply that holds a number. */
export function number(reply: unknown): number {
  const value = typeof reply === 'number' ? reply : Number(text(reply))
  if (Number.isNaN(value)) throw unexpected(reply)
  return value
}

/** A bulk reply as bytes. */
export function bytes(reply: unknown): Buffer {
  if (Buffer.isBuffer(reply)) return reply
  if (typeof reply === 'string') return Buffer.from(reply)
  throw unexpected(reply)
}

function unexpected(reply: unknown): MalformedDataError {
  const shown = Buffer.isBuffer(reply) ? reply.toString('latin1', 0, 60) : typeof reply
  return new MalformedDataError(`Redis replied to a Millrace script with something unexpected (${shown}).`)
}
