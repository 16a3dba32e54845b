import { createServer, connect } from 'node:net'
import type { Server, Socket } from 'node:net'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Proxy } from '../../chaos/proxy.ts'
import { until } from '../support/until.ts'

/** Answers every piece with its length, and remembers what it was sent. */
let server: Server
let received: string
let accepted: Socket[]
let proxy: Proxy
let port: number
let folder: string

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'proxy-'))
  received = ''
  accepted = []
  server = createServer(socket => {
    accepted.push(socket)
    socket.on('error', () => undefined)
    socket.on('data', piece => {
      received += piece.toString()
      socket.write(`${piece.length};`)
    })
  })
  const path = join(folder, 's.sock')
  await new Promise<void>(resolve => server.listen(path, resolve))
  proxy = new Proxy(path)
  port = Number(new URL(await proxy.listen()).port)
})

afterEach(async () => {
  await proxy.close()
  for (const socket of accepted) socket.destroy()
  server.close()
  rmSync(folder, { recursive: true })
})

async function open() {
  const socket = connect(port, '127.0.0.1')
  const heard = { text: '', closed: false }
  socket.on('data', piece => (heard.text += piece.toString()))
  socket.on('error', () => undefined)
  socket.once('close', () => (heard.closed = true))
  await until(() => accepted.length > 0, { what: 'the connection goes through' })
  return { socket, heard }
}

test('passes both ways, whole or in slices', async () => {
  const { socket, heard } = await open()
  socket.write('hello')
  await until(() => heard.text === '5;', { what: 'the answer came' })
  proxy.setMode({ kind: 'slice', bytes: 2 })
  socket.write('abcdef')
  await until(() => received === 'helloabcdef' && /^5;(\d+;)+$/.test(heard.text), { what: 'all came in pieces' })
})

test('delivers requests and drops their replies', async () => {
  const { socket, heard } = await open()
  proxy.setMode({ kind: 'swallow replies' })
  socket.write('do it')
  await until(() => received === 'do it' && proxy.counts.swallowedBytes === 2, { what: 'the request arrived' })
  expect(heard.text).toBe('')
  expect(proxy.cut()).toBe(1)
  await until(() => heard.closed, { what: 'the connection broke' })
})

test('a half-open connection carries nothing and hides the other side’s end', async () => {
  const { socket, heard } = await open()
  expect(proxy.setModeOf({ kind: 'swallow' }, () => true)).toBe(1)
  // A change of mode for all others does not wake it.
  proxy.setMode({ kind: 'pass' })
  socket.write('anybody?')
  await until(() => proxy.counts.swallowedBytes === 8, { what: 'it was swallowed' })
  accepted[0]?.destroy()
  const { socket: other, heard: otherHeard } = await open()
  other.write('hi')
  await until(() => otherHeard.text === '2;', { what: 'another connection works' })
  expect(heard).toEqual({ text: '', closed: false })
  expect(received).toBe('hi')
  proxy.cutSilent()
  await until(() => heard.closed && proxy.silent === 0, { what: 'it is cut' })
})
