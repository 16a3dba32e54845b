import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { History } from '../../chaos/history.ts'
import { Stuck } from '../../chaos/stuck.ts'

async function begin(idleMs: number) {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-stuck-'))
  const stuck = new Stuck(folder, idleMs)
  onTestFinished(async () => {
    stuck.stop()
    await rm(folder, { recursive: true })
  })
  return { stuck, history: new History(folder, 'd1') }
}

test('a run in which nothing is written down any more is stuck', async () => {
  const { stuck } = await begin(100)
  expect(await stuck.since).toBe('when all was healed and nothing had happened for 0.1 s')
})

test('one that gets on is not, until that has no end', async () => {
  const { stuck, history } = await begin(1000)
  let said: string | undefined
  const end = stuck.since.then(words => {
    said = words
  })
  const begun = performance.now()
  while (said === undefined) {
    history.write({ type: 'submitted', job: 'j' })
    await sleep(20)
  }
  await end
  expect(said).toBe('8 s after all was healed')
  expect(performance.now() - begun).toBeGreaterThan(7900)
})
