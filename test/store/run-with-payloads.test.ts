import { expect, test } from 'vitest'
import { defineScript, oneOf } from '../../src/protocol/script.ts'
import { openClient } from '../../src/store/client.ts'
import { PreparedScript } from '../../src/store/prepared-script.ts'
import { isTransient } from '../../src/store/reply-error.ts'
import { runWithPayloads } from '../../src/store/run-with-payloads.ts'
import { redisTarget } from '../../src/store/target.ts'
import { startRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'

const script = defineScript({
  name: 'test',
  keys: ['payloads'],
  args: [],
  reply: oneOf('ran'),
  lua: `redis.call('HSET', payloadsKey, 'script', 'ran') return 'ran'`,
})

test('of a transaction that a node of a Cluster refuses nothing is sent again alone', async () => {
  await using node = await startRedis({ port: true, config: { 'cluster-enabled': 'yes' } })
  const { port = 0 } = node
  const target = redisTarget({ cluster: [port] })
  const client = openClient(target, { name: 'test', silenceMs: 5000 }, { node: { host: '127.0.0.1', port } })
  client.on('error', () => undefined)
  try {
    const prepared = PreparedScript.of(script, { payloads: 'payloads' }, [])
    const payload = { field: 'field', payload: Buffer.from('value') }
    const error: unknown = await runWithPayloads(client, prepared, [], [payload]).catch((reason: unknown) => reason)
    expect(isTransient(error)).toBe(true)
    await node.cli('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
    await until(async () => (await node.cli('CLUSTER', 'INFO')).includes('cluster_state:ok'), { what: 'it is whole' })
    // After whatever waits to be sent again.
    expect(await client.hgetall('payloads')).toEqual({})
    expect(await runWithPayloads(client, prepared, [], [payload])).toBe('ran')
  } finally {
    client.disconnect()
  }
})
