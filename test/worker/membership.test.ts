import { expect, test } from 'vitest'
import { silentLog } from '../../src/runtime/log.ts'
import { Membership } from '../../src/worker/membership.ts'
import { useRedis } from '../store/support/lane.ts'

const redis = useRedis()

test('a worker that Redis forgot tells its threads its new name, though its first heartbeat under it fails', async () => {
  const lane = redis.lane()
  const told: string[] = []
  const membership = new Membership({
    store: lane,
    id: 'first',
    leaseMs: 300,
    threads: 1,
    info: id => ({
      id,
      host: 'host',
      pid: 1,
      threads: 1,
      hash: 'c0de',
      tasks: [],
      reducers: [],
      startedAt: 1,
      version: '0',
      launch: '',
    }),
    stats: () => '{}',
    onRegistered: id => told.push(id),
    log: silentLog,
  })
  await membership.start()
  try {
    expect(told).toEqual(['first'])
    // The script that registers does not look at the lane's record, the one for the heartbeat stumbles over this.
    await lane.client.multi().del(lane.keys.workers).del(lane.keys.lane).set(lane.keys.lane, 'foreign').exec()
    await expect.poll(() => membership.id, { timeout: 5000 }).not.toBe('first')
    await expect.poll(() => told.at(-1), { timeout: 5000 }).toBe(membership.id)
  } finally {
    await membership.stop()
  }
})
