import type { RedisOptions } from '../../test/support/redis.ts'
import type { Persistence } from '../server.ts'

export function persisting(persistence: Persistence): RedisOptions {
  return persistence === 'rdb'
    ? { config: { save: '1 1' } }
    : // A rewrite would begin a new file in the middle of the record of its sizes.
      { appendonly: persistence, config: { 'auto-aof-rewrite-percentage': '0' } }
}
