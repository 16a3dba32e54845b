import { expect, test } from 'vitest'
import { makeRecord } from '../../src/driver/make-record.ts'
import { Part } from '../../src/driver/part.ts'
import { CollectorReplacedError } from '../../src/errors.ts'
import { partKeys } from '../../src/protocol/keys.ts'
import { hash, plainFields, useRedis } from '../store/support/lane.ts'

const redis = useRedis()
const waiter = () => ({ waitingFor: undefined, ended: false })

test('one of two drivers makes the record, and the other finds it there', async () => {
  const lane = redis.lane()
  const [first, second] = [new Part('j', 'one', plainFields), new Part('j', 'two', plainFields)]
  expect(await makeRecord(lane.parts, first, 0, waiter())).toBe(true)
  expect(await makeRecord(lane.parts, second, 0, waiter())).toBe(false)
  expect(await lane.parts.readPart('j')).toMatchObject({
    collector: 'one',
    incarnation: first.incarnation,
    submitted: 0,
  })
})

test('asked again after a lost reply, it is the same record, unless another driver has attached since', async () => {
  const lane = redis.lane()
  const part = new Part('j', 'one', plainFields)
  await makeRecord(lane.parts, part, 0, waiter())
  expect(await makeRecord(lane.parts, part, 0, waiter())).toBe(true)
  await lane.parts.attach('j', 'two', 60_000, hash)
  await expect(makeRecord(lane.parts, part, 0, waiter())).rejects.toBeInstanceOf(CollectorReplacedError)
})

test('what stands in its place is cleared away, and a full Redis is waited for, with the reason', async () => {
  const lane = redis.lane()
  await lane.client.set(partKeys(lane.lane, 'j').part, 'something else')
  expect(await makeRecord(lane.parts, new Part('j', 'one', plainFields), 0, waiter())).toBe(true)
  await redis.process.cli('CONFIG', 'SET', 'maxmemory', '1')
  const who = { waitingFor: undefined as string | undefined, ended: false }
  const made = makeRecord(lane.parts, new Part('k', 'one', plainFields), 0, who)
  await expect.poll(() => who.waitingFor).toContain('Redis')
  await redis.process.cli('CONFIG', 'SET', 'maxmemory', '0')
  expect(await made).toBe(true)
  expect(who.waitingFor).toBeUndefined()
})
