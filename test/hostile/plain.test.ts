import { afterAll, beforeAll, expect, test } from 'vitest'
import { openClient } from '../../src/store/client.ts'
import type { Client } from '../../src/store/client.ts'
import { redisTarget } from '../../src/store/target.ts'
import { compiled, startCli } from '../cli/support/cli.ts'
import { mutated, seeded, textual } from '../protocol/support/mutations.ts'
import type { NodeProcess } from '../support/process.ts'
import { startRedis } from '../support/redis.ts'
import type { RedisProcess } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { tasksFile } from '../worker/support/lab.ts'

const acts = 10_000
const actsAtOnce = 50
const seed = Number(process.env['MILLRACE_FUZZ_SEED'] ?? 23)
const next = seeded(seed)
const list = 'task_queue'
const hash = 'result_hash'

let redis: RedisProcess
let client: Client
let worker: NodeProcess

beforeAll(async () => {
  await compiled()
  redis = await startRedis()
  client = openClient(redisTarget(redis.url), { name: 'vandal', silenceMs: 30_000 })
  const names = [
    '--plain-task',
    'echo',
    '--plain-list',
    list,
    '--plain-results',
    hash,
    '--plain-channel',
    'task_channel',
  ]
  const how = ['--threads', '2', '--lease-ms', '2000', '--no-restart']
  worker = startCli(['worker', tasksFile, '--redis', redis.url, ...how, ...names])
  await worker.waitForLine(/^ready/)
})

afterAll(async () => {
  client.disconnect()
  worker.kill('SIGKILL')
  await worker.exited
  await redis.stop()
})

const tally = new Map<string, number>()
const pick = <T>(items: readonly T[]): T => items[next() % items.length]!

const samples = [
  'task1',
  '{"id":"7","input":[1,2]}',
  '{"id":8,"input":{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}}',
  '{"id":"__proto__","input":"x"}',
  '{"id":"deep","input":' + '['.repeat(20_000) + ']'.repeat(20_000) + '}',
  '{"id":' + '"y'.repeat(2000) + '","input":null}',
  '',
].map(text => Buffer.from(text))

function garbage(): Buffer {
  const kind = next() % 8
  if (kind === 0) return Buffer.from(Array.from({ length: next() % 200 }, () => next() & 0xff))
  if (kind === 1) return Buffer.alloc(next() % 50 === 0 ? 1_000_000 : 300, next() & 0xff)
  if (kind === 2) return pick(samples)
  return mutated(pick(samples), pick(samples), next, textual)
}

/** Puts garbage of some type in the place of a key of the worker's own, or into it. */
async function spoil(key: string): Promise<void> {
  const bytes = garbage()
  const kind = next() % 6
  const multi = client.multi()
  if (kind < 5) multi.del(key)
  if (kind === 0) multi.set(key, bytes)
  else if (kind === 1) multi.hset(key, pick(['reapedAt', 'reapingSince', 'info', 'x']), bytes)
  else if (kind === 2) multi.lpush(key, bytes)
  else if (kind === 3) multi.zadd(key, pick(['-inf', '1', '+inf']), bytes)
  else if (kind === 4) multi.sadd(key, bytes)
  else multi.hset(key, pick(['reapedAt', 'reapingSince', 'slots', '1']), bytes)
  // What does not fit the type that is there is an error of this client's.
  await multi.exec()
}

/** For a moment something else stands where the user's key is; then all is as before. */
async function displace(key: string): Promise<void> {
  const kept = `kept-${next()}`
  const multi = client.multi()
  if ((await client.exists(key)) === 1) multi.rename(key, kept)
  await multi.set(key, garbage()).exec()
  await client.ping()
  await client.multi().del(key).rename(kept, key).exec()
}

async function act(own: readonly string[]): Promise<void> {
  const dice = next() % 1000
  const what = dice < 80 ? 'channel' : dice < 140 && own.length > 0 ? 'own key' : dice < 144 ? 'displaced' : 'element'
  tally.set(what, (tally.get(what) ?? 0) + 1)
  if (what === 'channel') await client.publish('task_channel', garbage())
  else if (what === 'own key') await spoil(pick(own))
  else if (what === 'displaced') await displace(pick([list, hash, `${hash}:errors`]))
  else await client.lpush(list, garbage()).catch(() => undefined)
}

test(`${acts} writes of garbage into every key and channel of plain-Redis mode end no worker, and what is well-formed is answered`, async () => {
  const asked = new Set<string>()
  const ask = async (id: string) => {
    asked.add(id)
    // Like any client of a queue that somebody else writes into: what is not answered is asked again.
    await until(
      async () => {
        await client.lpush(list, JSON.stringify({ id, input: `input of ${id}` })).catch(() => undefined)
        return until(async () => (await client.hexists(hash, id).catch(() => 0)) === 1, {
          what: `${id} is answered`,
          timeoutMs: 4000,
        }).then(
          () => true,
          () => false,
        )
      },
      { what: `${id} is answered in the end`, timeoutMs: 60_000 },
    )
    expect(await client.hget(hash, id).catch(() => `input of ${id}`)).toBe(`input of ${id}`)
  }
  const asking: Promise<void>[] = []
  for (let done = 0; done < acts; done += actsAtOnce) {
    const keys = await client.keys(`{${list}}:millrace:*`)
    await Promise.all(Array.from({ length: actsAtOnce }, () => act(keys)))
    if (done % 1000 === 0) asking.push(ask(`good-${done}`))
    await until(async () => (await client.llen(list).catch(() => 0)) < 500, {
      what: 'the worker keeps up',
      timeoutMs: 60_000,
    })
  }
  await Promise.all(asking)
  await until(async () => (await client.llen(list)) === 0, { what: 'all is taken', timeoutMs: 60_000 })
  await ask('last')
  // The notes were spoiled like everything else: one more, by hand.
  const own = `{${list}}:millrace:`
  await client.multi().del(`${own}workers`).set(`${own}workers`, 'garbage').exec()
  const notes = () => client.lrange(`${own}malformed`, 0, '-1')
  const note = `deleted ${own}workers: a string stood where a zset must be`
  await until(async () => (await notes()).includes(note), { what: 'it is mended, and said so' })
  const errors = await client.hlen(`${hash}:errors`)
  console.log(
    `plain fuzz (seed ${seed}, ${acts} acts): ${[...tally]
      .sort()
      .map(([what, times]) => `${what} ${times}`)
      .join(
        ', ',
      )}; ${asked.size} well-formed answered; ${await client.hlen(hash)} results, ${errors} errors, ${worker.stderr.length} lines logged`,
  )
  expect(await Promise.race([worker.exited, Promise.resolve('alive')])).toBe('alive')
  expect(errors).toBeGreaterThan(0)
  expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
  // What goes wrong again and again is said now and then, not each time.
  expect(worker.stderr.length).toBeLessThan(1000)
}, 240_000)
