import { describe, expect, test } from 'vitest'
import { spawnNode } from './process.ts'
import { until } from './until.ts'

describe('spawnNode', () => {
  test('finds a line in either output and tells the exit code', async () => {
    const child = spawnNode(['-e', 'console.log("port 71"); console.error("warned"); process.exitCode = 3'])
    const [, port] = await child.waitForLine(/^port (\d+)$/)
    expect(port).toBe('71')
    await child.waitForLine(/^warned$/)
    expect(await child.exited).toEqual({ code: 3, signal: null })
    expect(child.stdout).toEqual(['port 71'])
    expect(child.stderr).toEqual(['warned'])
  })

  test('rejects a wait for a line at once when the process ends without it, showing what it did print', async () => {
    const child = spawnNode(['-e', 'console.error("out of cheese")'])
    await expect(child.waitForLine(/ready/)).rejects.toThrow(/ended \(code 0\).*\/ready\/:\nout of cheese/)
  })

  test('passes environment and signal on', async () => {
    const child = spawnNode(['-e', 'console.log(process.env.COLOUR, process.env.HOME); setInterval(() => {}, 1000)'], {
      env: { COLOUR: 'red', HOME: undefined },
    })
    await child.waitForLine(/^red undefined$/)
    expect(child.kill('SIGTERM')).toBe(true)
    expect(await child.exited).toEqual({ code: null, signal: 'SIGTERM' })
    expect(child.kill()).toBe(false)
  })

  test('does not let a child outlive a test process that is killed without warning', async () => {
    const support = new URL('process.ts', import.meta.url).href
    const parent = spawnNode([
      '--import',
      'tsx',
      '--input-type=module',
      '-e',
      `import { spawnNode } from '${support}'
       console.log('child', spawnNode(['-e', 'setInterval(() => {}, 1000)']).pid)
       setInterval(() => {}, 1000)`,
    ])
    const [, pid] = await parent.waitForLine(/^child (\d+)$/)
    expect(isAlive(Number(pid))).toBe(true)
    parent.kill('SIGKILL')
    await until(() => !isAlive(Number(pid)), { what: 'the orphan is killed' })
  })
})

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
