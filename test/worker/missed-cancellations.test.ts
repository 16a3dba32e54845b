import { afterEach, expect, test } from 'vitest'
import { silentLog } from '../../src/runtime/log.ts'
import type { PartName } from '../../src/store/lane-access.ts'
import { Board, partHash } from '../../src/worker/board.ts'
import { MissedCancellations } from '../../src/worker/missed-cancellations.ts'
import { useRedis } from '../store/support/lane.ts'
import type { TestJob, TestLane } from '../store/support/lane.ts'
import { until } from '../support/until.ts'

const redis = useRedis()
const started: MissedCancellations[] = []

afterEach(async () => {
  for (const service of started.splice(0)) await service.stop()
})

/** A thread that holds this claim, and what is found to be cancelled of that. */
function watch(lane: TestLane, claim: string, board: Board, onLook?: () => void) {
  const cancelled: PartName[] = []
  let looks = 0
  const service = new MissedCancellations({
    store: lane,
    threads: () => {
      looks++
      onLook?.()
      return [thread]
    },
    onCancelled: part => cancelled.push(part),
    log: silentLog,
  })
  const thread = { board, claims: new Map([[claim, 0]]) }
  started.push(service)
  service.start()
  /** Two more looks have come to their end. */
  const looked = async () => {
    const first = looks
    await until(() => (service.lookNow(), looks > first + 2), { what: 'it has looked again' })
  }
  return { cancelled, looked }
}

async function held(lane: TestLane, claim: string): Promise<TestJob> {
  await lane.join('w', [claim])
  const job = await lane.job(1)
  expect((await lane.take('w', claim)).word).toBe('claimed')
  return job
}

const nameOf = ({ job, incarnation }: TestJob) => ({ job, incarnation })
const claim = 'a'.repeat(16)

test('a job that was dropped is cancelled where a thread goes on running the batch', async () => {
  const lane = redis.lane()
  const job = await held(lane, claim)
  const board = new Board()
  const { cancelled, looked } = watch(lane, claim, board)
  board.begin(0)
  await looked()
  expect(cancelled).toEqual([])
  await lane.parts.drop(job)
  await looked()
  expect(cancelled[0]).toEqual(nameOf(job))
})

test('a job that began anew is cancelled in its former life, where its asynchronous task goes on', async () => {
  const lane = redis.lane()
  const job = await held(lane, claim)
  await lane.parts.drop(job)
  const anew = await lane.job(1, { id: job.job })
  const board = new Board()
  const { cancelled, looked } = watch(lane, claim, board)
  board.addPending(0, partHash(job), 0)
  await looked()
  expect(cancelled[0]).toEqual(nameOf(job))
  expect(cancelled).not.toContainEqual(nameOf(anew))
})

test('nothing is asked about a thread that has gone on to another batch', async () => {
  const lane = redis.lane()
  const job = await held(lane, claim)
  await lane.parts.drop(job)
  const board = new Board()
  const { cancelled, looked } = watch(lane, claim, board, () => {
    board.begin(0)
  })
  await looked()
  expect(cancelled).toEqual([])
})
