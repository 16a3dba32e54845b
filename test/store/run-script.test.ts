import { describe, expect, test } from 'vitest'
import { isTransient, outcomeUnknown, refusesWrites, replyCode } from '../../src/store/reply-error.ts'
import { useRedis } from './support/lane.ts'

const redis = useRedis()

test('a script that Redis forgot is sent again, and runs once', async () => {
  const lane = redis.lane()
  const job = await lane.job(2, { complete: false })
  await lane.client.script('FLUSH')
  const batch = { from: 2, to: 3, skipped: 0, taskless: 0, complete: true, elements: [], driverLeaseMs: 1000 }
  expect(await lane.parts.submit(job, batch)).toEqual({ word: 'submitted', submitted: 3 })
  expect((await lane.record(job)).waiting).toBe(3)
})

describe('replyCode', () => {
  test('is the first word of an error that Redis replied, inside a script too', async () => {
    const client = redis.open()
    await client.set('key', 'value')
    const errors = await Promise.all([
      client.lpush('key', 'x').catch((error: unknown) => error),
      client.call('eval', ["return redis.call('LPUSH', KEYS[1], 'x')", 1, 'key']).catch((error: unknown) => error),
      client.call('evalsha', ['0'.repeat(40), 0]).catch((error: unknown) => error),
    ])
    expect(errors.map(error => replyCode(error))).toEqual(['WRONGTYPE', 'WRONGTYPE', 'NOSCRIPT'])
    for (const error of errors)
      expect([outcomeUnknown(error), refusesWrites(error), isTransient(error)]).toEqual([false, false, false])
  })

  test('of a transaction that was not run says to try again', async () => {
    const client = redis.open()
    const replies = ['multi', 'nosuchcommand', 'exec'].map(name => client.call(name).catch((error: unknown) => error))
    const [, , aborted] = await Promise.all(replies)
    expect(replyCode(aborted)).toBe('EXECABORT')
    expect(isTransient(aborted)).toBe(true)
  })

  test('is none for a broken connection, of which nobody knows what ran', async () => {
    const client = redis.open()
    const blocked = client.blpop('nothing', 5).catch((error: unknown) => error)
    const other = redis.open()
    await expect.poll(() => other.info('clients')).toMatch(/blocked_clients:1/)
    client.disconnect()
    const error = await blocked
    expect(replyCode(error)).toBeUndefined()
    expect(outcomeUnknown(error)).toBe(true)
  })
})
