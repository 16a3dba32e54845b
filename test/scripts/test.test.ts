import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Sandbox } from './sandbox.ts'

let sandbox: Sandbox

const PASSED = { status: 'passed', assertionResults: [{}] }

function vitest(report: object, code = 0): Promise<void> {
  return sandbox.writeProgram(
    'node_modules/.bin/vitest',
    `import { writeFileSync } from 'node:fs'
     const path = process.argv.find(argument => argument.startsWith('--outputFile.json=')).split('=')[1]
     const none = { numPassedTests: 0, numFailedTests: 0, numPendingTests: 0, numTodoTests: 0, testResults: [] }
     writeFileSync(path, JSON.stringify({ ...none, ...${JSON.stringify(report)} }))
     process.exitCode = ${code}`,
  )
}

beforeEach(async () => {
  sandbox = await Sandbox.create()
  await sandbox.write('scripts/bootstrap.mjs', '')
  await sandbox.write('scripts/check-package.mjs', '')
  for (const gate of ['prettier', 'eslint', 'tsc']) await sandbox.writeProgram(`node_modules/.bin/${gate}`)
  await vitest({ numPassedTests: 7, testResults: [PASSED] })
})

afterEach(() => sandbox.remove())

describe('npm test', () => {
  test('counts each test and each gate', async () => {
    const { code, stdout } = await sandbox.run('test.mjs')
    expect(code).toBe(0)
    expect(stdout.at(-1)).toBe('11 passed, 0 failed')
  })

  test('shows what a failing gate printed, and runs the tests all the same', async () => {
    await sandbox.writeProgram('node_modules/.bin/eslint', `console.log('no-any'); process.exitCode = 1`)
    const { code, stdout } = await sandbox.run('test.mjs')
    expect(code).toBe(1)
    expect(stdout).toContain('no-any')
    expect(stdout.at(-1)).toBe('10 passed, 1 failed')
  })

  test('counts failed tests', async () => {
    await vitest({ numPassedTests: 5, numFailedTests: 2, testResults: [PASSED] }, 1)
    const { code, stdout } = await sandbox.run('test.mjs')
    expect(code).toBe(1)
    expect(stdout.at(-1)).toBe('9 passed, 2 failed')
  })

  test('counts a file that cannot be loaded as a failure', async () => {
    await vitest({ numPassedTests: 5, testResults: [PASSED, { status: 'failed', assertionResults: [] }] }, 1)
    expect((await sandbox.run('test.mjs')).stdout.at(-1)).toBe('9 passed, 1 failed')
  })

  test('counts an error outside of any test as a failure', async () => {
    await vitest({ numPassedTests: 5, testResults: [PASSED] }, 1)
    expect((await sandbox.run('test.mjs')).stdout.at(-1)).toBe('9 passed, 1 failed')
  })

  test('counts a vitest that leaves no report as a failure', async () => {
    await sandbox.writeProgram('node_modules/.bin/vitest', 'process.exitCode = 1')
    expect((await sandbox.run('test.mjs')).stdout.at(-1)).toBe('4 passed, 1 failed')
  })

  test('says of tests that were skipped that they were', async () => {
    await vitest({ numPassedTests: 5, numPendingTests: 2, numTodoTests: 1, testResults: [PASSED] })
    expect((await sandbox.run('test.mjs')).stdout.slice(-2)).toEqual(['3 tests were skipped', '9 passed, 0 failed'])
  })

  test('has failed when the bootstrap has', async () => {
    await sandbox.write('scripts/bootstrap.mjs', 'process.exitCode = 2')
    const { code, stdout } = await sandbox.run('test.mjs')
    expect(code).toBe(1)
    expect(stdout.at(-1)).toBe('0 passed, 1 failed')
    expect(await sandbox.calls()).toEqual([])
  })

  test('runs only the tests that are asked for', async () => {
    const { stdout } = await sandbox.run('test.mjs', ['worker', 'driver'])
    expect(stdout.at(-1)).toBe('7 passed, 0 failed')
    expect(await sandbox.calls()).toEqual([expect.stringMatching(/^vitest run .* worker driver$/)])
  })
})
