import { expect, test } from 'vitest'
import { silentLog } from '../../src/runtime/log.ts'
import { Lanes } from '../../src/store/lanes.ts'
import { redisTarget } from '../../src/store/target.ts'
import type { Presence } from '../../src/worker/presence.ts'
import { Presences } from '../../src/worker/presences.ts'
import { useRedis } from '../store/support/lane.ts'
import { until } from '../support/until.ts'

const redis = useRedis()

test('a worker that could not take part on a lane which it learned of tries again', async () => {
  const { lane } = redis.lane()
  const role = { name: 'test', silenceMs: 8000 }
  const onOpen = (client: { on(event: 'error', listener: () => void): unknown }) => {
    client.on('error', () => undefined)
  }
  const target = redisTarget(redis.process.url)
  const lanes = new Lanes({ target, namespace: lane.namespace, queue: lane.queue, role, onOpen }, [0, 1])
  const starts: number[] = []
  const presences = new Presences({
    lanes,
    open: number => {
      const start = () => {
        starts.push(number)
        const isFirst = starts.filter(each => each === number).length === 1
        return number === 2 && isFirst ? Promise.reject(new Error('its server is away')) : Promise.resolve()
      }
      return { start, stop: () => Promise.resolve() } as unknown as Presence
    },
    onGrown: () => undefined,
    log: silentLog,
  })
  await presences.start()
  try {
    await lanes.first.agreeLanes([0, 1, 2])
    await until(() => starts.length === 4, { what: 'it has tried lane 2 twice', timeoutMs: 25_000 })
    expect(starts).toEqual([0, 1, 2, 2])
  } finally {
    await presences.stop()
    lanes.disconnect()
  }
})
