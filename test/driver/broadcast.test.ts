import { expect, test } from 'vitest'
import { task } from '../../src/index.ts'
import { startBench } from './support/bench.ts'
import { set } from './support/tasks.ts'

test('a broadcast ends at its deadline where no worker knows the task', async () => {
  await using bench = await startBench({ threads: 1 })
  const other = await bench.connect({ tasks: undefined as never })
  const stray = task('stray', (x: number) => x)
  expect(await other.broadcast(stray, 1, { timeoutMs: 300 })).toEqual([])
})

test('a broadcast ends at its deadline while Redis is away', async () => {
  await using bench = await startBench({ threads: 1 })
  expect(await bench.mill.broadcast(set, 'first')).toHaveLength(1)
  await bench.redis.kill()
  expect(await bench.mill.broadcast(set, 'second', { timeoutMs: 300 })).toEqual([])
  await bench.redis.restart()
})
