import type { RedisProcess } from '../../test/support/redis.ts'
import { until } from '../../test/support/until.ts'

/** What a server says of itself. */
export async function isMaster(server: RedisProcess): Promise<boolean> {
  return (await server.cli('INFO', 'replication')).includes('role:master')
}

/** Resolves when the server is a replica and has what its master has. */
export async function whenItFollows(server: RedisProcess): Promise<void> {
  await until(
    async () => {
      const info = await server.cli('INFO', 'replication')
      return info.includes('role:slave') && info.includes('master_link_status:up')
    },
    { what: 'the old master follows the new one', timeoutMs: 30_000 },
  )
}
