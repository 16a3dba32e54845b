import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { forgetProcess, killWithThisProcess } from './guardian.ts'
import { until } from './until.ts'

export interface SpawnOptions {
  /** Added to this process's environment; `undefined` takes a variable out. */
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly cwd?: string
}

/** How a process ended: by itself with a code, or by a signal. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface NodeProcess {
  readonly pid: number
  /** Whole lines, as far as printed. */
  readonly stdout: readonly string[]
  readonly stderr: readonly string[]
  /** Resolves when the process is gone and all that it printed has been read; never rejects. */
  readonly exited: Promise<Exit>
  /** The first line of either output that matches, now or later; rejects when the process ends without it. */
  waitForLine(pattern: RegExp, timeoutMs?: number): Promise<RegExpMatchArray>
  /** Sends the signal to the process alone, not to its children. False when it is gone already. */
  kill(signal?: NodeJS.Signals): boolean
}

/** Starts `node ARGS…` and reads what it prints. It is killed when the test process ends. */
export function spawnNode(args: readonly string[], options: SpawnOptions = {}): NodeProcess {
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ...options.env },
    cwd: options.cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const { pid } = child
  // Only a process that never started emits this, and then there is no pid.
  child.once('error', () => undefined)
  if (pid === undefined) throw new Error(`node ${args.join(' ')} could not be started`)
  killWithThisProcess(pid)

  const stdout = collectLines(child.stdout)
  const stderr = collectLines(child.stderr)
  let exit: Exit | undefined
  const exited = new Promise<Exit>(resolve => {
    child.once('exit', () => {
      forgetProcess(pid)
    })
    child.once('close', (code, signal) => {
      exit = { code, signal }
      resolve(exit)
    })
  })

  return {
    pid,
    stdout,
    stderr,
    exited,
    waitForLine: async (pattern, timeoutMs = 60_000) => {
      const printed = () => [...stdout, ...stderr]
      const found = await until(
        () => {
          // Looked at before the lines: whatever the process printed before it ended is in them by then.
          const ended = exit
          const match = firstMatch(printed(), pattern)
          return match ? { match } : ended && { ended }
        },
        { what: `node ${args.join(' ')} prints a line like ${String(pattern)}`, timeoutMs },
      )
      if ('match' in found) return found.match
      const how = found.ended.signal ?? `code ${String(found.ended.code)}`
      throw new Error(
        `node ${args.join(' ')} ended (${how}) before it printed a line like ${String(pattern)}:\n` +
          printed().slice(-20).join('\n'),
      )
    },
    kill: (signal = 'SIGKILL') => child.kill(signal),
  }
}

function collectLines(stream: Readable): string[] {
  const lines: string[] = []
  createInterface({ input: stream }).on('line', line => lines.push(line))
  return lines
}

function firstMatch(lines: readonly string[], pattern: RegExp): RegExpMatchArray | undefined {
  for (const line of lines) {
    const match = line.match(pattern)
    if (match) return match
  }
  return undefined
}
