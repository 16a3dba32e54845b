import { existsSync } from 'node:fs'
import { readdir, rm, utimes } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { until } from '../support/until.ts'
import { Sandbox } from './sandbox.ts'

let sandbox: Sandbox

const lockOf = (version: string) => JSON.stringify({ packages: { '': {}, 'node_modules/a': { version } } })
const preloadUid = (uid: number) => `process.getuid = () => ${uid}`
const POLICY = '/usr/sbin/policy-rc.d'

beforeEach(async () => {
  sandbox = await Sandbox.create()
  await sandbox.write('package-lock.json', lockOf('1.0.0'))
  await sandbox.write('tsconfig.json', '{}')
  await sandbox.write('tsconfig.build.json', '{}')
  await sandbox.write('src/index.ts', '// index')
  await sandbox.write('src/cli/main.ts', '// main')
  await sandbox.write('src/page.html', '<p>')
  await sandbox.writeProgram('bin/redis-server', `console.log('Redis server v=7.0.15 sha=0')`)
  await sandbox.writeProgram('bin/npm', NPM)
})

afterEach(() => sandbox.remove())

// Installs what the lock file says, which is a compiler that copies.
const NPM = `
  import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
  rmSync('node_modules', { recursive: true, force: true })
  mkdirSync('node_modules/typescript/bin', { recursive: true })
  writeFileSync('node_modules/typescript/bin/tsc', \`
    const { appendFileSync, cpSync, readdirSync, renameSync } = require('node:fs')
    appendFileSync(process.env.LOG, 'tsc\\\\n')
    cpSync('src', 'dist.new', { recursive: true })
    for (const path of readdirSync('dist.new', { recursive: true })) {
      if (path.endsWith('.ts')) renameSync('dist.new/' + path, 'dist.new/' + path.replace(/ts$/, 'js'))
    }\`)
  await new Promise(resolve => setTimeout(resolve, 300))
  cpSync('package-lock.json', 'node_modules/.package-lock.json')
`

// Ends with the bootstrap that called it.
const HANGING_NPM = `
  const caller = process.ppid
  while (process.ppid === caller) await new Promise(resolve => setTimeout(resolve, 20))
`

const npmCi = expect.stringMatching(/^npm ci .*--ignore-scripts/) as string

/** What was called, but for the questions about a version. */
async function work(): Promise<string[]> {
  return (await sandbox.calls()).filter(call => !call.endsWith('--version'))
}

describe('bootstrap', () => {
  test('installs the packages and builds, then has nothing to say or do', async () => {
    const first = await sandbox.run('bootstrap.mjs')
    expect(first.stderr.join('\n')).toMatch(/installing the npm packages[^]*done in[^]*building dist\/: done in/)
    expect(first.code).toBe(0)
    expect(await work()).toEqual([npmCi, 'tsc'])
    expect((await readdir(join(sandbox.root, 'dist'), { recursive: true })).sort()).toEqual([
      'cli',
      'cli/main.js',
      'index.js',
      'page.html',
    ])
    expect(await sandbox.run('bootstrap.mjs')).toEqual({ code: 0, stdout: [], stderr: [] })
    expect(await work()).toHaveLength(2)
    expect(await readdir(join(sandbox.root, 'tmp'))).toEqual([])
  })

  test('installs again when the lock file names another version', async () => {
    await sandbox.run('bootstrap.mjs')
    await sandbox.write('package-lock.json', lockOf('1.0.1'))
    await sandbox.run('bootstrap.mjs')
    expect(await work()).toEqual([npmCi, 'tsc', npmCi, 'tsc'])
  })

  test('builds again when a source changed, and drops the output of one that is gone', async () => {
    await sandbox.run('bootstrap.mjs')
    await sandbox.write('src/index.ts', '// changed')
    await rm(join(sandbox.root, 'src/cli'), { recursive: true })
    expect((await sandbox.run('bootstrap.mjs')).code).toBe(0)
    expect(await sandbox.read('dist/index.js')).toBe('// changed')
    expect(existsSync(join(sandbox.root, 'dist/cli'))).toBe(false)
    expect(await work()).toEqual([npmCi, 'tsc', 'tsc'])
  })

  test('builds again when a file of dist is gone', async () => {
    await sandbox.run('bootstrap.mjs')
    await rm(join(sandbox.root, 'dist/cli/main.js'))
    await sandbox.run('bootstrap.mjs')
    expect(existsSync(join(sandbox.root, 'dist/cli/main.js'))).toBe(true)
  })

  test('does the work once when two start at once', async () => {
    const both = await Promise.all([sandbox.run('bootstrap.mjs'), sandbox.run('bootstrap.mjs')])
    expect(both.map(({ code }) => code)).toEqual([0, 0])
    expect(await work()).toEqual([npmCi, 'tsc'])
  })

  test('takes the place of one that was killed, and does not disturb one that lives', async () => {
    const lock = join(sandbox.root, 'tmp', `millrace-bootstrap-${userInfo().uid}.lock`)
    await sandbox.writeProgram('bin/npm', HANGING_NPM)
    const killed = sandbox.start('bootstrap.mjs')
    await until(async () => (await work()).length > 0, { what: 'the first has called npm' })
    await sandbox.writeProgram('bin/npm', NPM)
    const waiting = sandbox.start('bootstrap.mjs')
    await waiting.waitForLine(/waiting for another bootstrap/)
    expect(await work()).toEqual([npmCi])

    killed.kill('SIGKILL')
    await killed.exited
    const longAgo = new Date(Date.now() - 60_000)
    await utimes(lock, longAgo, longAgo)
    expect((await waiting.exited).code).toBe(0)
    expect(await work()).toEqual([npmCi, npmCi, 'tsc'])
  })

  test('ends with one sentence and the tail of the log when npm fails', async () => {
    await sandbox.writeProgram('bin/npm', `console.error('npm error code ENOTFOUND'); process.exitCode = 7`)
    const { code, stderr } = await sandbox.run('bootstrap.mjs')
    expect(code).toBe(2)
    expect(stderr.slice(-3)).toEqual([
      expect.stringMatching(/^Installing the npm packages .* failed: `npm ci .*` ended with 7; .*\.$/),
      '',
      'npm error code ENOTFOUND',
    ])
    expect(await readdir(join(sandbox.root, 'tmp'))).toEqual([])
  })

  test('keeps the dist that there is when the new one does not compile', async () => {
    await sandbox.run('bootstrap.mjs')
    await sandbox.write('node_modules/typescript/bin/tsc', `console.log('error TS1005'); process.exitCode = 2`)
    await sandbox.write('src/index.ts', '// broken')
    const { code, stderr } = await sandbox.run('bootstrap.mjs')
    expect(code).toBe(2)
    expect(stderr.at(-1)).toBe('error TS1005')
    expect(await sandbox.read('dist/index.js')).toBe('// index')
  })

  test('refuses an old Node', async () => {
    const old = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.18.3' } })`
    expect(await sandbox.run('bootstrap.mjs', [], old)).toEqual({
      code: 2,
      stdout: [],
      stderr: [expect.stringMatching(/^Millrace needs Node 20\.19 or newer, and this is 20\.18\.3: .*\.$/)],
    })
  })
})

describe('bootstrap without a redis-server', () => {
  beforeEach(() => rm(join(sandbox.root, 'bin/redis-server')))

  test('is content with a valkey-server', async () => {
    await sandbox.writeProgram('bin/valkey-server', `console.log('Valkey server v=8.1.1 sha=0')`)
    expect((await sandbox.run('bootstrap.mjs')).code).toBe(0)
  })

  test('says what to install where there is no apt-get', async () => {
    const { code, stderr } = await sandbox.run('bootstrap.mjs', [], preloadUid(0))
    expect(code).toBe(2)
    expect(stderr).toEqual([expect.stringMatching(/^redis-server is not on PATH, and there is no apt-get .*\.$/)])
    expect(await work()).toEqual([])
  })

  test('says what to install where it runs without root', async () => {
    await sandbox.writeProgram('bin/apt-get')
    const { code, stderr } = await sandbox.run('bootstrap.mjs', [], preloadUid(1000))
    expect(code).toBe(2)
    expect(stderr).toEqual([expect.stringMatching(/only root .*`sudo apt-get install redis-server`.*\.$/)])
    expect(await work()).toEqual([])
  })

  test('refuses a server that is too old', async () => {
    await sandbox.writeProgram('bin/redis-server', `console.log('Redis server v=6.0.16 sha=0')`)
    const { code, stderr } = await sandbox.run('bootstrap.mjs')
    expect(code).toBe(2)
    expect(stderr).toEqual([
      expect.stringMatching(/^The redis-server on PATH is version 6\.0, .* 7\.0 or newer: .*\.$/),
    ])
  })

  // It writes where only root may, as the bootstrap itself would.
  describe.runIf(process.getuid?.() === 0)('as root', () => {
    const APT = `
      import { execFileSync } from 'node:child_process'
      import { chmodSync, writeFileSync } from 'node:fs'
      if (process.argv.at(-1) !== 'update') {
        const program = ${JSON.stringify('bin/redis-server')}
        writeFileSync(program, '#!/bin/sh\\necho Redis server v=7.0.15\\n')
        chmodSync(program, 0o755)
        let policy = 0
        try { execFileSync('${POLICY}', ['redis-server', 'start']) } catch (error) { policy = error.status ?? 0 }
        appendFileSync(process.env.LOG, process.env.DEBIAN_FRONTEND + ', policy ' + policy + '\\n')
      }`

    test('installs it with apt-get, forbids its service to start meanwhile, and leaves nothing behind', async () => {
      const hadPolicy = existsSync(POLICY)
      await sandbox.writeProgram('bin/apt-get', APT)
      await sandbox.writeProgram('bin/systemctl')
      expect((await sandbox.run('bootstrap.mjs')).code).toBe(0)
      const calls = (await work()).filter(call => !/^(npm|tsc)/.test(call))
      expect(calls).toEqual([
        expect.stringMatching(/^apt-get .*-q update$/),
        expect.stringMatching(/^apt-get .*-y --no-install-recommends install redis-server$/),
        'noninteractive, policy 101',
        'systemctl disable redis-server',
      ])
      expect(existsSync(POLICY)).toBe(hadPolicy)
    })

    test('installs a browser too when asked to', async () => {
      await sandbox.writeProgram(
        'bin/apt-get',
        `${APT}\nimport { cpSync } from 'node:fs'\ncpSync('bin/npm', 'bin/chromium')`,
      )
      expect((await sandbox.run('bootstrap.mjs', ['--chromium'])).code).toBe(0)
      expect(await work()).toContainEqual(expect.stringMatching(/^apt-get .* install redis-server chromium$/))
    })

    test('tries to install although the package lists could not be updated, and says how that failed', async () => {
      await sandbox.writeProgram('bin/apt-get', `console.log('E: no network'); process.exitCode = 100`)
      const { code, stderr } = await sandbox.run('bootstrap.mjs')
      expect(code).toBe(2)
      expect(stderr.slice(-3)).toEqual([
        expect.stringMatching(/^Installing redis-server failed: `apt-get .*` ended with 100; .*\.$/),
        '',
        'E: no network',
      ])
    })
  })
})
