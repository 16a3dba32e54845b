import type { RedisOptions } from 'ioredis'

const names = [
  'host',
  'port',
  'path',
  'family',
  'keepAlive',
  'noDelay',
  'tls',
  'protocol',
  'username',
  'password',
  'db',
  'Connector',
  'sentinels',
  'name',
  'sentinelUsername',
  'sentinelPassword',
  'sentinelTLS',
  'enableTLSForSentinelMode',
  'updateSentinels',
  'natMap',
] as const satisfies readonly (keyof RedisOptions)[]

/** Those of ioredis's options that say where Redis is and how it is connected to. */
export type Addressing = Pick<RedisOptions, (typeof names)[number]>

/**
 * What is taken of a user's options. How a connection behaves once it is there is ours to say: a `commandTimeout` would
 * give up a blocked BLMOVE that still runs, a missing offline queue would refuse the first command, and an instance has a
 * value for everything, most of them defaults that nobody chose.
 */
export function addressing(options: RedisOptions): Addressing {
  const given = names.filter(name => options[name] != null)
  return Object.fromEntries(given.map(name => [name, options[name]]))
}
