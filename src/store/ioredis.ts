import { createRequire } from 'node:module'
import type * as ioredis from 'ioredis'

/**
 * What we use of ioredis when the program runs, loaded by `require`: to `import` a CommonJS package, Node first parses each
 * of its files for the names that it exports, which takes as long as everything else. All processes and threads load it.
 */
const loaded = createRequire(import.meta.url)('ioredis') as typeof ioredis

export const { AbstractConnector, Command, Redis } = loaded
export type Command = ioredis.Command
export type Redis = ioredis.Redis

// Its package has no type for this one.
export const ReplyError = loaded.ReplyError as new () => Error
