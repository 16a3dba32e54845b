import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { processEnd } from '../protocol/evidence.ts'
import type { ProcessEnd } from '../protocol/evidence.ts'
import { randomName } from '../protocol/names.ts'
import { exitCodeOf } from '../code/run-script.ts'
import { jitteredBackoffMs } from '../runtime/backoff.ts'
import { Restarts } from '../runtime/restarts.ts'
import { Tail } from '../runtime/tail.ts'
import { exitCodes } from './exit-codes.ts'
import { launchVariable } from './keeper.ts'

export interface KeptOptions {
  /** The arguments of this command line, which the process is given as well. */
  readonly args: readonly string[]
  /** A run ended, and was not told to. Never rejects. */
  readonly onEnd: (launch: string, end: ProcessEnd) => Promise<void>
  readonly say: (line: string) => void
}

/** How long what an ended process wrote may still take to arrive: a child of its own may hold its stderr open. */
const lastWordsMs = 2000

/** How long until a process that did not find Redis is started again; it has waited for it some seconds itself. */
const redisAwayMs = 2000

/**
 * Runs this command line in a process of its own, which is started again when something kills it, and resolves with the
 * exit code. So there is somebody who sees its exit code or signal and its last words, whatever a task does to it.
 * The first SIGINT or SIGTERM tells it to stop, the second ends it at once.
 */
export async function keepProcess({ args, onEnd, say }: KeptOptions): Promise<number> {
  const restarts = new Restarts()
  const stop = new Stop()
  let everUp = false
  try {
    for (;;) {
      const launch = randomName()
      const startedAt = performance.now()
      const { code, signal, cameUp, lines } = await run(args, launch, stop)
      const end = processEnd(code, signal, lines)
      everUp ||= cameUp
      if (cameUp && code !== 0) await onEnd(launch, end)
      // Redis is away, which is no fault of the worker's: others wait for it too, however long it takes.
      const waitsForRedis = everUp && !cameUp && code === exitCodes.redisUnreachable
      const againMs = waitsForRedis
        ? jitteredBackoffMs(1, { firstMs: redisAwayMs, mostMs: redisAwayMs })
        : restarts.afterEnd({ cameUp, upMs: performance.now() - startedAt })
      // One that never came up has said why.
      const isOver = code === 0 || stop.signal !== undefined || !everUp
      if (isOver || againMs === undefined) return signal === null ? (code ?? 1) : exitCodeOf(signal)
      say(`the worker's process ${end.how}: it is started again`)
      await stop.within(againMs)
      if (stop.signal !== undefined) return 0
    }
  } finally {
    stop.release()
  }
}

interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly cameUp: boolean
  readonly lines: readonly string[]
}

function run(args: readonly string[], launch: string, stop: Stop): Promise<Ended> {
  const main = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? './main.ts' : './main.js', import.meta.url))
  const child = fork(main, args, {
    env: { ...process.env, [launchVariable]: launch },
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
  })
  const tail = new Tail()
  child.stderr?.on('data', (bytes: Buffer) => {
    process.stderr.write(bytes)
    tail.write(bytes)
  })
  let cameUp = false
  child.on('message', () => {
    cameUp = true
  })
  stop.watch(child)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      const told = () => {
        clearTimeout(timer)
        resolve({ code, signal, cameUp, lines: tail.lines })
      }
      const timer = setTimeout(told, lastWordsMs)
      child.once('close', told)
    })
  })
}

/** Hands the signals on that this process gets. */
class Stop {
  /** The first that came. */
  signal: NodeJS.Signals | undefined
  #child: ChildProcess | undefined
  #onFirst: () => void = () => undefined
  readonly #listener = (signal: NodeJS.Signals) => {
    if (this.signal === undefined) {
      this.signal = signal
      this.#onFirst()
      if (this.#child?.connected === true) this.#child.send({ type: 'stop' }, () => undefined)
    } else {
      this.#child?.kill('SIGKILL')
      process.exit(exitCodeOf(signal))
    }
  }

  constructor() {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, this.#listener)
  }

  watch(child: ChildProcess): void {
    this.#child = child
  }

  /** Resolves after `ms`, or with the first signal. */
  async within(ms: number): Promise<void> {
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, ms)
      this.#onFirst = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#onFirst = () => undefined
  }

  release(): void {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, this.#listener)
  }
}
