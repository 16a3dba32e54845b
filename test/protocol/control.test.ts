import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeControl, encodeControl } from '../../src/protocol/control.ts'
import type { ControlMessage } from '../../src/protocol/control.ts'

const broadcast: ControlMessage = {
  type: 'broadcast',
  id: 'b1',
  hash: 'c0de',
  lane: 3,
  deadlineMs: 1_700_000_000_000,
  replyChannel: 'ns:q:collector:c',
  task: 'reload the table',
  input: Buffer.from([0, 10, 255, 32]),
}

const messages: readonly ControlMessage[] = [
  { type: 'work', lane: 4, chunks: 12 },
  { type: 'joined', worker: 'w1' },
  { type: 'left', worker: 'w1' },
  { type: 'cancel', job: 'job', incarnation: 'inc', index: undefined },
  { type: 'cancel', job: 'job', incarnation: 'inc', index: 0 },
  broadcast,
]

describe('messages to workers', () => {
  test.each(messages.map(message => [message.type, message] as const))(
    '%s arrives as it was sent',
    (_type, message) => {
      expect(decodeControl(encodeControl(message))).toEqual(message)
    },
  )

  test.each([
    '',
    'other',
    'work',
    'work x 3',
    'work 0 0',
    'joined',
    'cancel job',
    'cancel job inc x',
    'broadcast b1 c0de 0 5 reply task',
    'broadcast b1 c0de x 5 reply task\n',
    'broadcast b1 c0de 0 0 reply task\n',
  ])('%j is ignored', text => {
    expect(decodeControl(Buffer.from(text))).toBeUndefined()
  })

  test('any bytes at all are safe to read', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 3000 }).map(array => Buffer.from(array)),
      fc
        .tuple(fc.constantFrom('work ', 'joined ', 'cancel ', 'broadcast '), fc.string())
        .map(([type, rest]) => Buffer.from(type + rest)),
    )
    fc.assert(
      fc.property(bytes, message => {
        decodeControl(message)
      }),
    )
  })
})
