import { submittedChunk } from '../../../src/protocol/chunk.ts'
import { broadcastKey } from '../../../src/protocol/keys.ts'
import { chunkOf, chunksOf, driverLeaseMs, hash, plainFields } from './lane.ts'
import type { TestJob, TestLane } from './lane.ts'

/**
 * Calls every operation of a lane store at least once, with something to do for it, and leaves behind one of every
 * kind of key. `scripts` is the store that runs the scripts; `lane` prepares and looks.
 */
export async function liveThrough(lane: TestLane, scripts: TestLane): Promise<void> {
  const death = { worker: 'mortal', maxDeaths: 3, failure: Buffer.from('failure'), evidence: 'evidence' }
  await scripts.agreeLanes([0])
  await scripts.join('w', ['a', 'b'])
  await scripts.members.heartbeat('w', { leaseMs: 60_000, threads: 2, stats: '{}' })

  // Submitted with a shared value, staged, claimed, settled in part, retried, promoted.
  const part: TestJob = { job: 'first', incarnation: 'inc', collector: 'c', hash }
  await scripts.take('w', 'a', { waitMs: 60_000 })
  await scripts.parts.submit(part, {
    from: 0,
    to: 40,
    skipped: 0,
    taskless: 0,
    complete: false,
    elements: chunksOf(part, 0, 40, 4),
    driverLeaseMs,
    create: { ...plainFields, shared: true },
    shared: Buffer.from('shared'),
  })
  const held = submittedChunk(
    { ...part, first: 40, count: 1, base: 40, attempt: 1, deaths: 0, kind: 'pack', flags: 'plain', task: 'square' },
    Buffer.alloc(100_000),
  )
  await scripts.parts.submit(part, {
    from: 40,
    to: 41,
    skipped: 0,
    taskless: 0,
    complete: false,
    elements: [held.element],
    held: held.held === undefined ? [] : [held.held],
    driverLeaseMs,
  })
  await lane.client.hset(lane.keysOf(part.job).part, 'pace', 1000)
  await scripts.take('w', 'b')
  await scripts.take('w', 'b')
  const retries = [
    { delayMs: 1, element: chunkOf(part, { first: 0, attempt: 2 }) },
    { delayMs: 60_000, element: chunkOf(part, { first: 1, attempt: 2 }) },
  ]
  const [chunk] = await lane.held('b')
  if (chunk === undefined) throw new Error('claim b should hold a chunk')
  const runs =
    chunk.count > 2 ? [{ first: chunk.first + 2, count: 1, kind: 'values' as const, bytes: Buffer.from('r') }] : []
  const done = Math.min(3, chunk.count)
  const settled = await scripts.claims.settle(part, 'b', {
    chunks: [{ ...chunk, done }],
    runs,
    retries,
    paceNs: 1000,
  })
  if (settled.word !== 'committed') throw new Error(`The commit was ${settled.word}`)
  await lane.client.zadd(lane.keysOf(part.job).delayed, 1, chunkOf(part, { first: 2, attempt: 2 }))
  await scripts.upkeep.promote(part.job, hash)
  await scripts.parts.scanResults(part.job, '0')
  await scripts.parts.release(part, { runs: [{ first: 3, count: 1 }], cursor: 1, accumulator: Buffer.from('sum') })
  await scripts.parts.renewDriver([part.job], driverLeaseMs)

  await scripts.parts.cancelTask(part, 39, Buffer.from('cancelled'))

  // Split, given back, retired.
  await lane.client.lpush(lane.claimKey('b'), chunkOf(part, { first: 90, count: 9 }))
  await scripts.claims.split(part, 'b', { first: 90, attempt: 1, keep: 2 })
  await scripts.members.enroll('w', 'b2')
  await scripts.claims.giveBack(part.job, hash, 'b')
  await scripts.claims.peekClaim('b2')
  await scripts.members.retireClaim('w', 'b', hash)
  await scripts.claims.unstage(part.job, hash)
  await scripts.upkeep.peekChunks(part.job, 0, 10)
  await scripts.parts.enlist(part.job, hash, driverLeaseMs)

  // What something else wrote is cleared away.
  await lane.client.zadd(lane.keys.due, 1, 'no name')
  await scripts.expel(lane.keys.due, [Buffer.from('no name')])
  await scripts.mend([{ key: lane.keys.lane, kind: 'lane' }])

  // A worker dies; what it held is a suspect, or quarantined; it is buried.
  await scripts.join('mortal', ['m'])
  await lane.client.lpush(lane.claimKey('m'), chunkOf(part, { first: 99, deaths: 3 }))
  await lane.client.zadd(lane.keys.workers, 1, 'mortal')
  await lane.pretendReaping(6000)
  await scripts.members.declareDead(6000)
  await scripts.claims.giveBackOfDead(part.job, hash, 'm', death)
  await lane.client.zadd(lane.keys.dead, 1, 'mortal')
  await scripts.members.noteEnd('mortal', '{}')
  await scripts.members.bury('mortal', ['m'])
  await scripts.upkeep.noteQuarantine(part.job, 1, 'evidence', chunkOf(part, { first: 1 }))

  await scripts.upkeep.retryQuarantined(part, 1)

  // Jobs that are parked and attached to, dropped, and forgotten.
  for (const id of ['parked', 'dropped', 'forgotten']) {
    const job = { ...part, job: id }
    const batch = {
      from: 0,
      to: 2,
      skipped: 0,
      taskless: 0,
      complete: true,
      elements: chunksOf(job, 0, 2, 1),
      driverLeaseMs,
    }
    await scripts.parts.submit(job, { ...batch, create: plainFields })
  }
  await lane.client.zadd(lane.keys.driven, 1, 'parked')
  await scripts.upkeep.park('parked', hash)
  await scripts.parts.attach('parked', 'newer', driverLeaseMs, hash)
  await scripts.parts.drop({ ...part, job: 'dropped', collector: '' })
  await lane.client.del(lane.keysOf('forgotten').part)
  await scripts.upkeep.forget('forgotten', hash)

  // A worker leaves; a thread answers a broadcast; another worker is dead; something malformed was found.
  await scripts.join('leaving', ['l'])
  await scripts.members.leave('leaving', ['l'])
  await scripts.answer('b1', 'w/0', { answer: Buffer.from('answer'), keepMs: 60_000, replyChannel: 'reply' })
  if ((await lane.client.exists(broadcastKey(lane.lane, 'b1'))) === 0) throw new Error('The answer was not stored.')
  await scripts.join('silent', ['s'])
  await lane.killWorker('silent')
  await lane.client.rpush(lane.codeKeys().stage, 'rubbish')
  await scripts.take('w', 'a')
  await scripts.take('w', 'a', { waitMs: 60_000, hash: 'other' })
  await lane.client.lpush(lane.codeKeys().stage, chunkOf(part, { first: 95 }))
}
