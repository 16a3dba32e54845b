import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { resolve } from 'node:path'
import { isatty } from 'node:tty'
import { pathToFileURL } from 'node:url'
import { UsageError } from '../errors.ts'

/**
 * Runs a driver script, TypeScript or JavaScript, in a Node process of its own that shares this terminal. Each file is
 * compiled when it is loaded; nothing is bundled. Resolves with the exit code, or with the signal that ended it.
 *
 * @throws {UsageError} when there is no such file or the process could not be started.
 */
export async function runScript(
  file: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<number | NodeJS.Signals> {
  const script = resolve(file)
  if (!existsSync(script)) {
    throw new UsageError(`There is no script ${script}: give the path of your driver script, like main.ts.`)
  }
  const child = spawn(process.execPath, [...loaderArguments(), script, ...args], { stdio: 'inherit', env })
  const stopRelay = relaySignals(signal => child.kill(signal))
  try {
    return await new Promise((done, fail) => {
      child.once('error', error => {
        fail(new UsageError(`The script ${file} can't be started: ${error.message}.`, { cause: error }))
      })
      child.once('exit', (code, signal) => {
        done(signal ?? code ?? 1)
      })
    })
  } finally {
    stopRelay()
  }
}

/** The exit code that a shell gives a process which a signal ended: 130 for SIGINT, 143 for SIGTERM. */
export function exitCodeOf(ending: number | NodeJS.Signals): number {
  return typeof ending === 'number' ? ending : 128 + constants.signals[ending]
}

function loaderArguments(): string[] {
  const loader = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
  const preload = new URL(`./driver-preload${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url).href
  return ['--enable-source-maps', '--import', loader, '--import', preload]
}

/**
 * Hands signals on, and keeps them from ending this process before the script has ended. A terminal sends Ctrl-C to
 * the script by itself, and a second SIGINT would tell it to give up its orderly end.
 */
function relaySignals(send: (signal: NodeJS.Signals) => void): () => void {
  const terminalSends = [0, 1, 2].some(descriptor => isatty(descriptor))
  const relays = (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map(signal => {
    const relay = (): void => {
      if (signal === 'SIGTERM' || !terminalSends) send(signal)
    }
    process.on(signal, relay)
    return { signal, relay }
  })
  return () => {
    for (const { signal, relay } of relays) process.off(signal, relay)
  }
}
