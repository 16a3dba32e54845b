import { stripVTControlCharacters } from 'node:util'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { runCommandLine } from '../../src/cli/command-line.ts'
import { compiled, runCli } from './support/cli.ts'

const commands = ['run', 'worker', 'jobs', 'snapshot', 'doctor', 'demo'] as const
const nowhere = 'redis://127.0.0.1:1'
const plain = ['--plain-task', 'primes', '--plain-list', 'l', '--plain-results', 'r']

beforeAll(compiled, 120_000)

describe('help', () => {
  test('of the program lists every command and the exit codes, on stdout', async () => {
    const { code, stdout, stderr } = await runCli(['--help'])
    expect(code).toBe(0)
    expect(stderr).toBe('')
    for (const command of commands) expect(stdout).toMatch(new RegExp(`^ {2}${command} `, 'm'))
    expect(stdout).toMatch(/Exit codes: .*130 and 143/s)
  })

  test.each(commands)('of %s says how to use it, and which Redis it uses', async command => {
    const { code, stdout, stderr } = await runCli([command, '--help'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(new RegExp(`^Usage: millrace ${command}`))
    expect(stdout).toMatch(/--redis <url>.*\(env: REDIS_URL\)/s)
  })

  test('comes on stderr with exit code 2 when no command is given', async () => {
    const { code, stdout, stderr } = await runCli([])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^Usage: millrace/)
  })
})

test('the version is that of the package', async () => {
  expect(await runCli(['--version'])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^\d+\.\d+\.\d+$/) as string,
  })
})

describe('a command line that cannot be understood', () => {
  test.each<[what: string, args: string[], message: RegExp]>([
    ['an unknown command', ['jbos'], /Unknown command 'jbos'\. Did you mean jobs\? Run millrace --help/],
    [
      'an unknown option',
      ['jobs', '--limmit', '3'],
      /Unknown option '--limmit'\. Did you mean --limit\? Run millrace jobs --help/,
    ],
    [
      'a value that is no number',
      ['jobs', '--limit', 'many'],
      /'many' is invalid\. Give a whole number from 1 to 10000\./,
    ],
    [
      'a value out of range',
      ['worker', '--threads', '0', 'tasks.ts'],
      /'0' is invalid\. Give a whole number from 1 to 1024\./,
    ],
    ['an option without its value', ['demo', '--threads'], /argument missing/],
    ['too many arguments', ['doctor', 'who'], /[Tt]oo many arguments/],
    ['a URL that is none of Redis', ['jobs', '--redis', 'http://localhost'], /its scheme must be redis:/],
    ['a URL with a bare %', ['jobs', '--redis', 'redis://:100%@box'], /: The Redis URL "redis:\/\/…@box" has a %/],
    ['two hosts without ?cluster', ['jobs', '--redis', 'redis://me:no@a,b'], /: The Redis URL "redis:\/\/…@a,b" names/],
    ['a namespace that cannot stand in a key', ['jobs', '--namespace', 'a b'], /The namespace "a b" can't be used/],
    ['--cancel without a job', ['jobs', '--cancel'], /--cancel needs the id of a job/],
    ['a job id that can be none', ['jobs', 'a b', '--redis', nowhere], /The job id "a b" can't be used/],
    ['a worker without tasks', ['worker'], /A worker needs one task module/],
    ['a worker with two task modules', ['worker', 'tasks.ts', '--demo'], /A worker needs one task module/],
    ['a task module that is not there', ['worker', 'no/tasks.ts'], /There is no task module .*no\/tasks\.ts/],
    [
      'what plain-Redis mode does not have',
      ['worker', '--demo', ...plain, '--heap-mb', '64', '--queue', 'slow', '--redis', nowhere],
      /Plain-Redis mode has no --heap-mb and --queue: /,
    ],
    [
      'half of plain-Redis mode',
      ['worker', '--demo', '--plain-list', 'l'],
      /give --plain-task, --plain-list and --plain-results together/,
    ],
    ['run without a program', ['run'], /[Mm]issing required argument 'file'/],
    ['a program that is not there', ['run', 'no/main.ts'], /There is no file .*no\/main\.ts/],
    [
      'options of the program before --',
      ['run', 'package.json', '--rows', '3'],
      /Arguments for the program itself stand after --\./,
    ],
    ['a folder of texts that is not there', ['demo', 'no/folder'], /There is no folder .*no\/folder/],
  ])('%s: exit code 2, and one line that says what to do', async (_what, args, message) => {
    const stderr = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    const stdout = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
    try {
      expect(await runCommandLine(args)).toBe(2)
      expect(stdout).not.toHaveBeenCalled()
      const text = stripVTControlCharacters(stderr.mock.calls.map(([written]) => String(written)).join(''))
      expect(text).toMatch(/^error USAGE: .*\n$/)
      expect(text).toMatch(message)
    } finally {
      vi.restoreAllMocks()
    }
  })

  test('ends the process with exit code 2 and nothing on stdout', async () => {
    const { code, stdout, stderr } = await runCli(['jobs', '--limmit', '3'])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^error USAGE: Unknown option '--limmit'.*$/)
  })

  test('is told as JSON where JSON was asked for', async () => {
    const { code, stdout, stderr } = await runCli(['jobs', '--json', '--limit', 'many'])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(JSON.parse(stderr)).toEqual({ error: { code: 'USAGE', message: expect.stringContaining('many') as string } })
  })

  test('shows a stack only where it was asked for', async () => {
    expect((await runCli(['jobs', '--cancel', '--debug'])).stderr).toMatch(/\n +at .*commands\/jobs/)
  })
})

describe('a Redis that cannot be reached', () => {
  test.each([
    ['jobs', []],
    ['snapshot', []],
    ['doctor', []],
    ['worker', ['--demo']],
    ['demo', ['--threads', '1']],
  ])('%s: exit code 3 within seconds', async (command, args) => {
    const startMs = performance.now()
    const { code, stdout, stderr } = await runCli([command, ...args, '--redis', nowhere])
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' })
    expect(stderr).toMatch(/^error REDIS_UNREACHABLE: Redis at 127\.0\.0\.1:1 .*(?:--redis|redis option)/)
    expect(stderr).not.toMatch(/\n +at /)
    expect(performance.now() - startMs).toBeLessThan(60_000)
  })

  test('is found in REDIS_URL too, and told as JSON', async () => {
    const { code, stderr } = await runCli(['jobs', '--json'], { env: { REDIS_URL: nowhere } })
    expect(code).toBe(3)
    expect(JSON.parse(stderr)).toMatchObject({
      error: { code: 'REDIS_UNREACHABLE', cause: expect.stringContaining('ECONNREFUSED') as string },
    })
  })

  test('never shows the password of the URL', async () => {
    const { stderr } = await runCli(['jobs', '--redis', 'redis://me:geheim@127.0.0.1:1', '--debug'])
    expect(stderr).toContain('127.0.0.1:1')
    expect(stderr).not.toContain('geheim')
  })
})
