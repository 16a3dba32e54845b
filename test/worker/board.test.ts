import fc from 'fast-check'
import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { Board, maxWindow, partHash } from '../../src/worker/board.ts'

const opened = (tasks: number) => {
  const board = new Board()
  board.open(0, '0123456789abcdef')
  expect(board.size(0, tasks)).toBe(true)
  board.begin(0)
  return board
}

describe('a window', () => {
  it('gives every task once, in order, whatever the blocks', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: maxWindow }),
        fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1 }),
        (tasks, blocks) => {
          const board = opened(tasks)
          let next = 0
          for (let i = 0; ; i++) {
            const from = board.take(0, blocks[i % blocks.length]!)
            if (from < 0) break
            expect(from).toBe(next)
            next += board.taken
          }
          expect(next).toBe(tasks)
        },
      ),
      { numRuns: 50 },
    )
  })

  it('is never taken from past a lowered limit, and what was lowered is exactly what was not taken', () => {
    const steps = fc.array(fc.oneof(fc.integer({ min: 1, max: 100 }), fc.constant('lower' as const)), { maxLength: 60 })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: maxWindow }), steps, (tasks, actions) => {
        const board = opened(tasks)
        let taken = 0
        let limit = tasks
        for (const action of actions) {
          if (action === 'lower') {
            const window = board.lower(0)
            expect(window).toEqual(taken < limit ? { cursor: taken, limit } : undefined)
            limit = Math.min(limit, taken)
          } else if (board.take(0, action) >= 0) {
            taken += board.taken
          } else {
            expect(taken).toBe(limit)
          }
          expect(taken).toBeLessThanOrEqual(limit)
        }
      }),
    )
  })

  it('that was revoked before its size was known takes no size', () => {
    const board = new Board()
    board.open(1, 'ffffffff00000001')
    expect(board.lower(1)).toEqual({ cursor: 0, limit: maxWindow })
    expect(board.size(1, 10)).toBe(false)
    expect(board.isRevoked(1)).toBe(true)
    expect(board.take(1, 1)).toBe(-1)
  })

  it('remembers its claim', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.constantFrom(0 as const, 1 as const),
        (number, slot) => {
          const claim = number.toString(16).padStart(16, '0')
          const board = new Board()
          board.open(slot, claim)
          expect(board.claim(slot)).toBe(claim)
        },
      ),
    )
  })

  it('loses and doubles no task when another thread lowers it at any moment', async () => {
    // The other thread does what `lower` does, in plain JavaScript: it can't load this module's TypeScript.
    const lowering = `
      const { parentPort, workerData } = require('node:worker_threads')
      const words = new Int32Array(workerData, 0, 16)
      let lowered = 0
      parentPort.on('message', () => {})
      for (let i = 0; i < 200_000; i++) {
        const window = Atomics.load(words, 0)
        const cursor = window >>> 16
        const limit = window & 0xffff
        if (cursor < 1000 || cursor >= limit) continue
        if (Atomics.compareExchange(words, 0, window, (cursor << 16) | cursor) === window) { lowered = cursor; break }
      }
      parentPort.postMessage(lowered)
      parentPort.close()
    `
    for (let round = 0; round < 5; round++) {
      const board = opened(maxWindow)
      const other = new Worker(lowering, { eval: true, workerData: board.buffer })
      const loweredTo = new Promise<number>(resolve => {
        other.once('message', resolve)
      })
      let taken = 0
      while (board.take(0, 3) >= 0) {
        taken += board.taken
        if (taken % 300 === 0) await new Promise(resolve => setImmediate(resolve))
      }
      const loweredAt = await loweredTo
      expect(taken).toBe(loweredAt === 0 ? maxWindow : loweredAt)
    }
  })
})

describe('what a board shows', () => {
  it('is the chunk that was published, or nothing while it changes', () => {
    const board = new Board()
    expect(board.shownChunk()).toBeUndefined()
    board.showChunk('j i 0 10 0 1 0 pack plain straße', 17, 250)
    expect(board.shownChunk()).toEqual({ line: 'j i 0 10 0 1 0 pack plain straße', offset: 17 })
    expect(board.look().timeoutMs).toBe(250)
    expect(new Board(board.buffer).shownChunk()).toEqual(board.shownChunk())
  })

  it('is the running batch and the task on the stack', () => {
    const board = new Board()
    expect(board.look()).toMatchObject({ slot: undefined, task: -1 })
    board.open(0, '0123456789abcdef')
    board.size(0, 5)
    board.begin(0)
    board.enter(3)
    const view = board.look()
    expect(view).toMatchObject({ slot: 0, task: 3 })
    board.enter(-1)
    board.close(0)
    expect(board.look()).toEqual({ ...view, slot: undefined, task: -1 })
  })

  it('is the batch that goes on when a broadcast has run', () => {
    const board = new Board()
    board.open(1, '0123456789abcdef')
    board.size(1, 5)
    board.begin(1)
    board.showChunk('j i 0 10 0 1 0 pack plain t', 0, 250)
    const inside = board.enterOutside(9)
    expect(board.look()).toMatchObject({ slot: undefined, task: 0, timeoutMs: 9 })
    board.leaveOutside(inside)
    expect(board.look()).toMatchObject({ slot: 1, task: -1, timeoutMs: 250 })
  })

  it('is that the thread is free while no batch, no task in progress and no broadcast can be on the stack', () => {
    const board = new Board()
    expect(board.isFree).toBe(true)
    board.countOutside(1)
    expect(board.isFree).toBe(false)
    board.countOutside(-1)
    board.addPending(3, 7, 1)
    expect(board.isFree).toBe(false)
    board.removePending(3)
    board.open(0, '0123456789abcdef')
    board.begin(0)
    expect(board.isFree).toBe(false)
    board.close(0)
    expect(board.isFree).toBe(true)
  })

  it('are the asynchronous tasks in progress', () => {
    const board = new Board()
    const hash = partHash({ job: 'j', incarnation: 'i' })
    board.addPending(7, hash, 2 ** 40)
    board.addPending(3, hash, 1)
    expect(board.pending()).toEqual([
      { partHash: hash, index: 1 },
      { partHash: hash, index: 2 ** 40 },
    ])
    board.removePending(3)
    expect(board.pending()).toHaveLength(1)
  })
})
