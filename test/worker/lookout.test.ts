import { expect, test } from 'vitest'
import { silentLog } from '../../src/runtime/log.ts'
import { Lookout } from '../../src/worker/lookout.ts'
import { hash, useRedis } from '../store/support/lane.ts'
import type { TestLane } from '../store/support/lane.ts'
import { until } from '../support/until.ts'

const redis = useRedis()

function lookoutOf(lane: TestLane, hasIdle: () => boolean) {
  const seen = { asked: 0, calls: 0 }
  const lookout = new Lookout({
    store: lane,
    hash,
    hasIdle: () => {
      seen.asked++
      return hasIdle()
    },
    onWork: () => {
      seen.calls++
    },
    log: silentLog,
  })
  return { lookout, seen }
}

test('threads that wait are told of chunks that stand in line', async () => {
  const lane = redis.lane()
  await lane.join('w', ['a'])
  await lane.job(2)
  const { lookout, seen } = lookoutOf(lane, () => true)
  lookout.start()
  await until(() => seen.calls > 0, { what: 'the lookout has seen the work' })
  await lookout.stop()
})

test('nobody is disturbed where nothing stands in line', async () => {
  const lane = redis.lane()
  await lane.join('w', ['a'])
  const { lookout, seen } = lookoutOf(lane, () => true)
  lookout.start()
  await until(() => seen.asked > 0, { what: 'the lookout has begun to look' })
  await lookout.stop()
  expect(seen.calls).toBe(0)
})

test('nothing is asked while every thread is busy', async () => {
  const lane = redis.lane()
  await lane.join('w', ['a'])
  await lane.job(2)
  const { lookout, seen } = lookoutOf(lane, () => false)
  lookout.start()
  await until(() => seen.asked > 0, { what: 'the lookout has begun to look' })
  await lookout.stop()
  expect(seen.calls).toBe(0)
})
