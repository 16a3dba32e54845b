import { expect, test } from 'vitest'
import { silentLog } from '../../src/runtime/log.ts'
import { ClaimKeeper } from '../../src/worker/claim-keeper.ts'
import { hash, spans, useRedis } from '../store/support/lane.ts'
import type { TestLane } from '../store/support/lane.ts'

const redis = useRedis()

function keeperOf(lane: TestLane, ...inUse: string[]): ClaimKeeper {
  const options = { store: lane, hash, workerId: () => 'w', isInUse: (claim: string) => inUse.includes(claim) }
  return new ClaimKeeper({ ...options, log: silentLog })
}

test('what stands in a claim that a thread abandoned goes back in line, and the claim ends', async () => {
  const lane = redis.lane()
  await lane.join('w', ['a', 'b'])
  const job = await lane.job(2)
  await lane.take('w', 'a')
  await lane.take('w', 'b')
  const keeper = keeperOf(lane, 'b')
  keeper.abandon('a')
  expect(await keeper.flush()).toBe(true)
  expect(spans(await lane.waitingChunks(job))).toEqual(['0+1'])
  expect(await lane.members.claimsOf('w')).toEqual(['b'])
  expect(spans(await lane.held('b'))).toEqual(['1+1'])
  await keeper.stop()
})
