import fc from 'fast-check'
import { createServer, type Socket } from 'node:net'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  connectSocket,
  encodeLine,
  parseClaim,
  parseReport,
  readLines,
  type SupervisorReport,
} from '../../src/embedded/control.ts'
import { askRedis, parseReply } from '../../src/embedded/resp.ts'

const report: fc.Arbitrary<SupervisorReport> = fc.oneof(
  fc.constantFrom('candidate', 'counted', 'stopping').map(state => ({ state })),
  fc.record({ state: fc.constant('starting'), progress: fc.nat() }),
  fc.record({ state: fc.constant('ready'), socketPath: fc.string() }),
  fc.record({ state: fc.constant('failed'), reason: fc.string({ unit: 'grapheme' }) }),
)

describe('a control line', () => {
  it('holds any report, and no line break', () => {
    fc.assert(
      fc.property(report, sent => {
        const line = encodeLine(sent)
        expect(line.indexOf('\n')).toBe(line.length - 1)
        expect(parseReport(line)).toEqual(sent)
      }),
    )
  })

  it('holds any claim', () => {
    const claim = fc.record({ lingerMs: fc.nat(), appendfsync: fc.constantFrom('everysec', 'always') })
    fc.assert(
      fc.property(claim, sent => {
        expect(parseClaim(encodeLine(sent))).toEqual(sent)
      }),
    )
  })

  it('is passed over if it is anything else', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), line => {
        expect(parseReport(line)).toBeUndefined()
        expect(parseClaim(line)).toBeUndefined()
      }),
    )
  })

  it('arrives whole however it is cut', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mr-'))
    const path = join(folder, 's')
    const server = createServer()
    const accepted = new Promise<Socket>(resolve => server.once('connection', resolve))
    await new Promise<void>(resolve => server.listen(path, resolve))
    const sender = await connectSocket(path)
    const receiver = await accepted
    const lines: string[] = []
    const ended = new Promise(resolve => receiver.on('end', resolve))
    readLines(receiver, line => lines.push(line))
    for (const byte of Buffer.from('größer\nzwei\n\ndrei\n')) {
      await new Promise(resolve => sender.write(Buffer.of(byte), resolve))
    }
    sender.end()
    await ended
    server.close()
    rmSync(folder, { recursive: true })
    expect(lines).toEqual(['größer', 'zwei', '', 'drei'])
  })
})

describe('a reply of Redis', () => {
  it.each([
    ['+PONG\r\n', { text: 'PONG' }],
    [
      '-LOADING Redis is loading the dataset in memory\r\n',
      { error: 'LOADING Redis is loading the dataset in memory' },
    ],
    ['$5\r\na\r\nbc\r\n', { text: 'a\r\nbc' }],
    ['$0\r\n\r\n', { text: '' }],
  ])('is read once it is whole: %j', (bytes, reply) => {
    for (let cut = 0; cut < bytes.length; cut++) {
      const part = parseReply(Buffer.from(bytes.slice(0, cut)))
      expect(part).toBeUndefined()
    }
    expect(parseReply(Buffer.from(bytes))).toEqual(reply)
  })

  it('is undefined where nobody listens', async () => {
    expect(await askRedis(join(tmpdir(), 'nobody-listens.sock'), ['PING'], 1_000)).toBeUndefined()
  })
})
