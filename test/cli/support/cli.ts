import { execFile } from 'node:child_process'
import { mkdir, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { removeWithThisProcess } from '../../support/guardian.ts'
import { spawnNode, type NodeProcess, type SpawnOptions } from '../../support/process.ts'
import { until } from '../../support/until.ts'

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

/** Compiles `src` unless `dist` is newer. Test files run side by side: one of them compiles, the others wait. */
export async function compiled(): Promise<void> {
  if (await isFresh()) return
  const lock = join(root, 'node_modules/.cache/millrace-compiling')
  await mkdir(join(root, 'node_modules/.cache'), { recursive: true })
  try {
    await mkdir(lock)
  } catch {
    await until(async () => (await modifiedMs(lock)) === 0, { what: 'another test file has compiled', timeoutMs: 60_000, everyMs: 100 })
    return
  }
  removeWithThisProcess(lock)
  try {
    // Types are checked elsewhere; what is emitted runs whether or not they are right.
    await promisify(execFile)(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json'], {
      cwd: root,
    }).catch((error: unknown) => {
      if (!(error instanceof Error && 'stdout' in error)) throw error
    })
  } finally {
    await rm(lock, { recursive: true })
  }
}

async function isFresh(): Promise<boolean> {
  const built = await modifiedMs(join(root, 'dist/.tsbuildinfo'))
  const sources = await readdir(join(root, 'src'), { recursive: true, withFileTypes: true })
  const times = await Promise.all(sources.map(source => modifiedMs(join(source.parentPath, source.name))))
  return (await modifiedMs(main)) > 0 && times.every(time => time <= built)
}

async function modifiedMs(path: string): Promise<number> {
  return stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  )
}
