import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { compiled, runCli } from '../cli/support/cli.ts'

let project: string

/** Runs an example as its README says, but in a project of its own: without any Redis that would be there already. */
function run(example: string, ...args: string[]) {
  const main = fileURLToPath(new URL(`../../examples/${example}/main.ts`, import.meta.url))
  return runCli(['run', main, '--', ...args], { cwd: project })
}

beforeAll(async () => {
  await compiled()
  project = await mkdtemp(join(tmpdir(), 'millrace-examples-'))
  await writeFile(join(project, 'package.json'), '{}\n')
})

afterAll(async () => {
  await rm(project, { recursive: true, force: true, maxRetries: 5 })
})

test('first prints the sum of squares', async () => {
  const { code, stdout } = await run('first')
  expect({ code, stdout }).toEqual({
    code: 0,
    stdout: 'The squares of the numbers below 100,000 add up to 333328333350000.',
  })
})

test('mandelbrot writes a PNG file', async () => {
  const { code } = await run('mandelbrot', '--out', 'small.png', '--width', '60', '--height', '40')
  expect(code).toBe(0)
  const file = await readFile(join(project, 'small.png'))
  expect(file.toString('latin1', 1, 4)).toBe('PNG')
  expect([file.readUInt32BE(16), file.readUInt32BE(20)]).toEqual([60, 40])
})

test('options agrees with the closed form, and prints the same digits each time', async () => {
  const first = await run('options', '--millions', '1')
  expect(first.code).toBe(0)
  expect(first.stdout).toMatch(/^closed form +7\.128065$/m)
  expect((await run('options', '--millions', '1')).stdout).toBe(first.stdout)
})

test('compress verifies each file that it has packed', async () => {
  await writeFile(join(project, 'a.txt'), 'a'.repeat(10_000))
  const { code, stdout } = await run('compress', '.', 'packed')
  expect(code).toBe(0)
  expect(stdout).toMatch(/^\d+ files, .*each read back and verified$/)
})
