import { mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { SnapshotError } from '../../../src/errors.ts'
import { takeSnapshot } from '../../../src/store/inspect/snapshot.ts'
import { until } from '../../support/until.ts'
import { useRedis } from '../support/lane.ts'

const redis = useRedis()

/** Makes a snapshot take long: Redis sleeps after each key that it saves. */
async function slowDown(client: ReturnType<typeof redis.open>, microseconds: number): Promise<void> {
  await client.config('SET', 'rdb-key-save-delay', String(microseconds))
}

describe('takeSnapshot', () => {
  test('resolves when the file is on disk, and says where and how large', async () => {
    const client = redis.open()
    await client.set('key', 'a value that is in the snapshot')
    const { file, bytes, durationMs } = await takeSnapshot([client], { timeoutMs: 10_000 })
    expect(file).toBe(join(redis.process.dir, 'dump.rdb'))
    const content = await readFile(file)
    expect(content.length).toBe(bytes)
    expect(content.includes('a value that is in the snapshot')).toBe(true)
    expect(durationMs).toBeGreaterThan(0)
  })

  test('waits for one that was under way and makes another, which holds what came since', async () => {
    const client = redis.open()
    for (let i = 0; i < 20; i++) await client.set(`early${i}`, i)
    await slowDown(client, 20_000)
    await client.call('bgsave')
    await client.set('late', 'written while the first was under way')
    await slowDown(client, 0)
    const { file } = await takeSnapshot([client], { timeoutMs: 20_000 })
    expect((await readFile(file)).includes('written while the first was under way')).toBe(true)
  })

  test('rejects when Redis could not write it', async () => {
    const client = redis.open()
    // A folder of that name can't be replaced by a file.
    const file = join(redis.process.dir, 'dump.rdb')
    await rm(file, { force: true })
    await mkdir(join(file, 'inside'), { recursive: true })
    await expect(takeSnapshot([client], { timeoutMs: 10_000 })).rejects.toThrow(SnapshotError)
    await rm(file, { recursive: true })
    await takeSnapshot([client], { timeoutMs: 10_000 })
  })

  test('rejects when it is not finished in time, and the server goes on with it', async () => {
    const client = redis.open()
    for (let i = 0; i < 20; i++) await client.set(`key${i}`, i)
    await slowDown(client, 50_000)
    await expect(takeSnapshot([client], { timeoutMs: 100 })).rejects.toThrow(/not finished in time/)
    await slowDown(client, 0)
    await until(async () => (await client.info('persistence')).includes('rdb_bgsave_in_progress:0'), {
      what: 'the snapshot ends',
    })
  })

  test('says neither file nor size where CONFIG is forbidden', async () => {
    const client = redis.open()
    await client.call('acl', ['setuser', 'default', '-config'])
    expect(await takeSnapshot([client], { timeoutMs: 10_000 })).toMatchObject({ file: '', bytes: undefined })
    await client.call('acl', ['setuser', 'default', '+config'])
  })
})
