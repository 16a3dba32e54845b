import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { startRedis, type RedisOptions, type RedisProcess } from './redis.ts'

const running: RedisProcess[] = []

async function start(options?: RedisOptions): Promise<RedisProcess> {
  const redis = await startRedis(options)
  running.push(redis)
  return redis
}

afterEach(async () => {
  await Promise.all(running.splice(0).map(redis => redis.stop()))
})

describe('startRedis', () => {
  test('keeps acknowledged writes over a kill with appendonly always, and the port too', async () => {
    const redis = await start({ appendonly: 'always', port: true })
    await redis.cli('SET', 'greeting', 'hello world')
    const { pid, url } = redis
    await redis.kill()
    await expect(redis.cli('PING')).rejects.toThrow()
    await redis.restart()
    expect(await redis.cli('GET', 'greeting')).toBe('hello world')
    expect(redis.pid).not.toBe(pid)
    expect(await firstReply(Number(new URL(url).port))).toMatch(/^\+PONG/)
  })

  test('keeps nothing over a kill by default, and listens on its socket alone', async () => {
    const redis = await start()
    expect(redis.url).toBe(`unix://${redis.socketPath}`)
    expect(await redis.cli('CONFIG', 'GET', 'port')).toBe('port\n0')
    await redis.cli('SET', 'greeting', 'hello')
    await redis.kill()
    await redis.restart()
    expect(await redis.cli('EXISTS', 'greeting')).toBe('0')
  })

  test('hands configuration on and rejects when a reply is an error', async () => {
    const redis = await start({ config: { maxmemory: '20mb', save: '60 1' } })
    expect(await redis.cli('CONFIG', 'GET', 'maxmemory')).toBe('maxmemory\n20971520')
    expect(await redis.cli('CONFIG', 'GET', 'save')).toBe('save\n60 1')
    await expect(redis.cli('LPUSH')).rejects.toThrow('wrong number of arguments')
  })

  test('says what the server logged when it does not start', async () => {
    await expect(startRedis({ config: { maxmemory: 'plenty' } })).rejects.toThrow(
      /did not start \(code 1\):[^]*maxmemory[^]*memory value/,
    )
  })

  test('stops a frozen server, removes its folder, and may be stopped twice', async () => {
    const redis = await start()
    await redis.kill('SIGSTOP')
    await redis.stop()
    await redis.stop()
    expect(existsSync(redis.dir)).toBe(false)
    expect(() => process.kill(redis.pid, 0)).toThrow('ESRCH')
  })
})

function firstReply(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'))
    socket.once('error', reject)
    socket.once('data', data => {
      socket.destroy()
      resolve(data.toString())
    })
  })
}
