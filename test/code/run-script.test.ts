import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { exitCodeOf, runScript } from '../../src/code/run-script.ts'
import { UsageError } from '../../src/errors.ts'
import type { NodeProcess } from '../support/process.ts'
import { spawnNode } from '../support/process.ts'
import { buildPackage } from './built-package.ts'
import { installed, makeProject } from './project.ts'
import type { Files } from './project.ts'

const built = await buildPackage()

/** Starts `runScript` in a process of its own, as `millrace run` does. The last line printed is what it resolved with. */
function run(script: string, ...args: string[]): NodeProcess {
  const code = `import(${JSON.stringify(built.url('code/run-script.js').href)})
    .then(({ runScript }) => runScript(process.argv[1], process.argv.slice(2), { ...process.env, EXTRA: 'yes' }))
    .then(ending => console.log('ended', ending))`
  return spawnNode(['--eval', code, '--', script, ...args], { env: { NODE_OPTIONS: undefined } })
}

async function outputOf(files: Files, script: string, ...args: string[]): Promise<readonly string[]> {
  const ran = run(join(await makeProject(files), script), ...args)
  await ran.exited
  return [...ran.stdout, ...ran.stderr]
}

describe('runScript', () => {
  test.each([
    ['no package.json', {}],
    ['a package.json that says commonjs', { 'package.json': `{ "type": "commonjs" }` }],
    ['a package.json that says module', { 'package.json': `{ "type": "module" }` }],
  ])('runs a first program in a folder with %s', async (_, manifest) => {
    const output = await outputOf(
      {
        ...manifest,
        'tasks.ts': `import { task, UsageError } from 'millrace'
          export const square = task('square', (x: number) => x * x)
          export const failure: unknown = new UsageError('from tasks.ts')`,
        'main.ts': `import { isTask, UsageError } from 'millrace'
          import { square, failure } from './tasks.js'
          await using resource = { async [Symbol.asyncDispose]() { console.log('disposed') } }
          console.log(isTask(square), failure instanceof UsageError, import.meta.url.endsWith('/main.ts'), typeof resource)`,
      },
      'main.ts',
    )
    expect(output).toEqual(['true true true object', 'disposed', 'ended 0'])
  })

  test('runs JavaScript, ESM or CommonJS, with its arguments and environment', async () => {
    const files = {
      'esm.js': `import { entry } from 'millrace/worker'; console.log(await entry, process.argv.slice(2), process.env.EXTRA)`,
      'common.cjs': `const { isTask } = require('millrace'); console.log(isTask({}), __filename.endsWith('common.cjs'))`,
    }
    expect(await outputOf(files, 'esm.js', '--flag', 'x y')).toEqual([`worker [ '--flag', 'x y' ] yes`, 'ended 0'])
    expect(await outputOf(files, 'common.cjs')).toEqual(['false true', 'ended 0'])
  })

  test("takes the copy that is installed beside the script before the command's own", async () => {
    const output = await outputOf(
      {
        'main.ts': `import { copy } from 'millrace'\nimport { same } from './other.ts'\nconsole.log(copy, await same)`,
        'other.ts': `import { own } from 'millrace'\nimport { own as again } from 'millrace'\nexport const same = own === again`,
        ...installed(
          'millrace',
          { type: 'module', exports: { '.': './index.js', './worker': './index.js' } },
          { 'index.js': `console.log('evaluated'); export const copy = 'installed', own = {}` },
        ),
      },
      'main.ts',
    )
    expect(output).toEqual(['evaluated', 'installed true', 'ended 0'])
  })

  test("shows the script's own lines when it throws, and gives its exit code", async () => {
    const output = await outputOf({ 'main.ts': `interface A { a: 1 }\n\nthrow new Error('up')\n` }, 'main.ts')
    expect(output.join('\n')).toMatch(/Error: up\n\s+at .*main\.ts:3:/)
    expect(output).toContain('ended 1')
    expect(await outputOf({ 'main.ts': 'process.exit(7)' }, 'main.ts')).toEqual(['ended 7'])
  })

  test("tells of an error of Millrace in a line, with the script's own lines and none of ours", async () => {
    const files = {
      'main.ts': `import { UsageError } from 'millrace'\n\nthrow new UsageError('no such thing', { cause: new Error('why') })\n`,
    }
    const output = await outputOf(files, 'main.ts')
    expect(output.filter(line => !/^ +at .*main\.ts:3:/.test(line))).toEqual([
      'ended 1',
      'error USAGE: no such thing',
      'cause: why',
    ])
    expect(output.some(line => line.includes('main.ts:3:'))).toBe(true)
  })

  test('leaves an error of Millrace to the script that handles what nobody caught', async () => {
    const output = await outputOf(
      {
        'main.ts': `import { UsageError } from 'millrace'
          process.on('uncaughtException', error => { console.log('handled', error.message) })
          throw new UsageError('no such thing')`,
      },
      'main.ts',
    )
    expect(output).toEqual(['handled no such thing', 'ended 0'])
  })

  test('says where the syntax of a script is wrong', async () => {
    const output = await outputOf({ 'main.ts': `await 1\nconst x y\n` }, 'main.ts')
    expect(output.join('\n')).toMatch(/main\.ts:2:8: ERROR: Expected ";" but found "y"/)
  })

  test.each(['SIGINT', 'SIGTERM'] as const)('hands %s on and waits for the script to end', async signal => {
    const folder = await makeProject({
      'main.ts': `let seen = 0
        process.on('${signal}', () => { seen++; setTimeout(() => { console.log('seen', seen); process.exit(5) }, 100) })
        setInterval(() => undefined, 1000)
        console.log('ready')`,
    })
    const ran = run(join(folder, 'main.ts'))
    await ran.waitForLine(/ready/)
    ran.kill(signal)
    expect(await ran.exited).toEqual({ code: 0, signal: null })
    expect(ran.stdout.slice(1)).toEqual(['seen 1', 'ended 5'])
  })

  test('gives the signal that ended the script', async () => {
    expect(await outputOf({ 'main.ts': `process.kill(process.pid, 'SIGKILL')` }, 'main.ts')).toEqual(['ended SIGKILL'])
    expect([exitCodeOf('SIGINT'), exitCodeOf('SIGTERM'), exitCodeOf(3)]).toEqual([130, 143, 3])
  })

  test('refuses a script that is not there', async () => {
    await expect(runScript('/no/such/main.ts', [], process.env)).rejects.toThrow(UsageError)
  })
})
