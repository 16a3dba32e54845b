import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { spawnNode, type NodeProcess, type SpawnOptions } from '../../support/process.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const main = join(root, 'dist/cli/main.js')

/** What a command printed, and its exit code. */
export interface CommandResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Starts `millrace ARGS…` as compiled. Neither a Redis nor colours are given to it unless the test does so. */
export function startCli(args: readonly string[], options: SpawnOptions = {}): NodeProcess {
  const env = { REDIS_URL: undefined, FORCE_COLOR: undefined, NO_COLOR: undefined, ...options.env }
  return spawnNode([main, ...args], { cwd: root, ...options, env })
}

/** Runs `millrace ARGS…` to its end. */
export async function runCli(args: readonly string[], options: SpawnOptions = {}): Promise<CommandResult> {
  const command = startCli(args, options)
  const { code } = await command.exited
  return { code, stdout: command.stdout.join('\n'), stderr: command.stderr.join('\n') }
}

/** Brings `dist` up to date, which takes a moment unless it is. Test files that run side by side wait for one another. */
export async function compiled(): Promise<void> {
  await promisify(execFile)(process.execPath, [join(root, 'scripts/build.mjs')], { cwd: root })
}
