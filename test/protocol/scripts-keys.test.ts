import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { createServer } from 'node:net'
import { PassThrough } from 'node:stream'
import type { Command } from 'ioredis'
import { describe, expect, test } from 'vitest'
import { randomName } from '../../src/protocol/names.ts'
import type { Script } from '../../src/protocol/script.ts'
import { openClient } from '../../src/store/client.ts'
import type { Client } from '../../src/store/client.ts'
import { startRedis } from '../support/redis.ts'
import { liveThrough } from '../store/support/life.ts'
import { TestLane, useRedis } from '../store/support/lane.ts'

/** Every script of a lane, by its digest. Those of plain-Redis mode have keys and tests of their own. */
async function allScripts(): Promise<Map<string, Script>> {
  const folder = new URL('../../src/protocol/scripts/', import.meta.url)
  const found = new Map<string, Script>()
  for (const file of await readdir(folder)) {
    if (file === 'plain.ts') continue
    const module = (await import(new URL(file, folder).href)) as Record<string, unknown>
    for (const value of Object.values(module)) if (isScript(value)) found.set(value.sha, value)
  }
  return found
}

function isScript(value: unknown): value is Script {
  return typeof value === 'object' && value !== null && 'sha' in value
}

/** Calls `before` with the keys that a script call declares, then sends it. Notes which scripts were called. */
function watched(client: Client, called: Set<string>, before: (keys: string[]) => Promise<unknown>): Client {
  const call = client.callBuffer.bind(client)
  const send = client.sendCommand.bind(client)
  const note = async ([command, script = '', count, ...rest]: string[]) => {
    // What is stored in the transaction of a script, under a key that the script declares.
    if (command === 'hset') return before([script])
    if (command === 'evalsha') called.add(script)
    return before(rest.slice(0, Number(count)))
  }
  const watchCall = async (command: string, args: (string | Buffer | number)[]) => {
    await note([command, ...args.map(String)])
    return call(command, args)
  }
  let turn: Promise<unknown> = Promise.resolve()
  // A prepared call has no arguments, only bytes. They go out in the order in which they were made.
  const watchPrepared = (command: Command) => {
    const isPrepared = command.args.length === 0 && ['evalsha', 'hset', 'multi', 'exec'].includes(command.name)
    if (!isPrepared) return send(command)
    const noted = turn.then(() => (/evalsha|hset/.test(command.name) ? note(firstWords(command)) : undefined))
    turn = noted
    return noted.then(() => send(command))
  }
  Object.defineProperty(client, 'callBuffer', { value: watchCall })
  Object.defineProperty(client, 'sendCommand', { value: watchPrepared })
  return client
}

/** The words of a command as they go out, up to the first that has a line break. */
function firstWords(command: Command): string[] {
  const socket = new PassThrough()
  const last = command.toWritable(socket)
  socket.uncork()
  socket.write(last)
  const lines = (socket.read() as Buffer).toString('latin1').split('\r\n')
  return lines.filter((_, at) => at > 0 && at % 2 === 0)
}

describe('with permission for nothing but the declared keys of each call', () => {
  const redis = useRedis()

  test('every script does its work', async () => {
    const admin = redis.open()
    await admin.call('acl', ['setuser', 'narrow', 'on', 'nopass', '+@all', 'allchannels', 'resetkeys'])
    const options = { path: redis.process.socketPath, username: 'narrow', password: 'any' }
    const narrow = openClient({ kind: 'single', options }, { name: 'narrow', silenceMs: 10_000 })
    const called = new Set<string>()
    const client = watched(narrow, called, keys => {
      const patterns = keys.map(key => `~${key.replaceAll(/[*?[\]\\^]/g, '\\$&')}`)
      return admin.call('acl', ['setuser', 'narrow', 'resetkeys', ...patterns])
    })
    const namespace = randomName(4)
    const lane = new TestLane(admin, namespace, 0)
    const scripts = new TestLane(client, namespace, 0)
    await liveThrough(lane, scripts)

    const missed = [...(await allScripts()).values()].filter(({ sha }) => !called.has(sha)).map(({ name }) => name)
    expect(missed).toEqual([])
    await expect(scripts.client.get(lane.keys.jobs)).rejects.toThrow(/NOPERM/)
    narrow.disconnect()
  })
})

describe('on a server in Cluster mode', () => {
  test('all keys of every call share a slot, and every script does its work', async () => {
    await using server = await startRedis({
      port: true,
      config: { 'cluster-enabled': 'yes', 'cluster-port': String(await freePort()) },
    })
    await server.cli('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
    const options = { host: '127.0.0.1', port: server.port ?? 0 }
    const open = () =>
      openClient({ kind: 'single', options }, { name: 'test', silenceMs: 10_000 }).on('error', () => undefined)
    const called = new Set<string>()
    const client = open()
    const lane = new TestLane(client, randomName(4), 3)
    await expect.poll(() => client.call('cluster', ['info']), { timeout: 10_000 }).toMatch(/cluster_state:ok/)
    const narrow = open()
    await liveThrough(
      lane,
      new TestLane(
        watched(narrow, called, () => Promise.resolve()),
        lane.lane.namespace,
        3,
      ),
    )
    expect(called.size).toBe((await allScripts()).size)
    client.disconnect()
    narrow.disconnect()
  })
})

/** For the Cluster bus, which would else use a port 10,000 higher, where there may be none. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}
