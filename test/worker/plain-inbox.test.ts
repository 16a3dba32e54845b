import { expect, test } from 'vitest'
import { Inbox } from '../../src/worker/plain/inbox.ts'

test('reads a few messages at a time, in order, and keeps a bounded number of others', async () => {
  const finish: (() => void)[] = []
  const begun: string[] = []
  let dropped = 0
  const inbox = new Inbox({
    readers: 2,
    read: message => {
      begun.push(String(message))
      return new Promise(resolve => finish.push(resolve))
    },
    onDropped: count => {
      dropped = count
    },
  })
  for (let n = 0; n < 10_010; n++) inbox.add(Buffer.from(`${n}`))
  expect(begun).toEqual(['0', '1'])
  expect(dropped).toBe(8)
  finish[0]!()
  await expect.poll(() => begun).toEqual(['0', '1', '2'])
  inbox.clear()
  for (const done of finish.slice(1)) done()
  inbox.add(Buffer.from('later'))
  await expect.poll(() => begun.at(-1)).toBe('later')
  inbox.add(Buffer.alloc(65 * 1024 * 1024))
  expect(dropped).toBe(9)
})
