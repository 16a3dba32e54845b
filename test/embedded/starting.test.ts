import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { announce, draftAnnouncement, withdraw, type Announcement } from '../../src/embedded/announcement.ts'
import { ControlServer } from '../../src/embedded/control-server.ts'
import type { Place } from '../../src/embedded/place.ts'
import { EmbeddedRedisError } from '../../src/errors.ts'
import { ask, Sandbox } from './support/sandbox.ts'

// A supervisor of which the test decides when it is ready.
describe('waiting for a supervisor', { timeout: 20_000 }, () => {
  let sandbox: Sandbox
  let place: Place
  let announcement: Announcement
  let control: ControlServer
  let isIdle: boolean
  let idle: () => void
  let counted: () => void
  let whenIdle: Promise<void>
  let whenCounted: Promise<void>

  beforeEach(async () => {
    sandbox = new Sandbox()
    place = await sandbox.place()
    isIdle = false
    whenIdle = new Promise(resolve => (idle = resolve))
    whenCounted = new Promise(resolve => (counted = resolve))
    control = new ControlServer({
      beforeReady: () => {
        counted()
        return Promise.resolve()
      },
      onIdle: () => {
        isIdle = true
        idle()
      },
    })
    announcement = draftAnnouncement(place)
    await control.listen(announcement.controlPath)
    await announce(announcement)
  })

  afterEach(async () => {
    await withdraw(announcement, place)
    await control.close()
    await sandbox.close()
  })

  it('goes on past the timeout while the start makes progress', async () => {
    const acquired = sandbox.acquire({ startTimeoutMs: 500 })
    await whenCounted
    const until = performance.now() + 1_200
    for (let progress = 1; performance.now() < until; progress++) {
      control.tell({ state: 'starting', progress })
      await delay(20)
    }
    control.tell({ state: 'ready', socketPath: place.redisSocket })
    expect((await acquired).socketPath).toBe(place.redisSocket)
  })

  it('ends after the timeout if the start makes no progress, however much is said', async () => {
    const acquired = sandbox.acquire({ startTimeoutMs: 200 })
    const talk = setInterval(() => {
      control.tell({ state: 'starting', progress: 7 })
    }, 20)
    try {
      await expect(acquired).rejects.toBeInstanceOf(EmbeddedRedisError)
    } finally {
      clearInterval(talk)
    }
  })

  it('rejects with the reason of a supervisor that failed', async () => {
    const acquired = sandbox.acquire()
    control.tell({ state: 'failed', reason: 'The disk is full.' })
    await expect(acquired).rejects.toThrow('The disk is full.')
  })

  it('tells a failure only once: who comes later may have mended its cause', async () => {
    const first = sandbox.acquire()
    await whenCounted
    control.tell({ state: 'failed', reason: 'The disk is full.' })
    await expect(first).rejects.toThrow('The disk is full.')
    const second = sandbox.acquire()
    await withdraw(announcement, place)
    await control.close()
    expect(await ask((await second).socketPath, 'PING')).toBe('PONG')
  })

  it('counts a client until it is gone, and is idle only then', async () => {
    control.tell({ state: 'ready', socketPath: place.redisSocket })
    const first = await sandbox.acquire({ lingerMs: 0 })
    const second = await sandbox.acquire({ lingerMs: 0 })
    await first.release()
    // A third claim passes through the same socket after the release, so the release has been seen by then.
    const third = await sandbox.acquire({ lingerMs: 0 })
    await third.release()
    expect(isIdle).toBe(false)
    await second.release()
    await whenIdle
  })
})
