import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** The root of the clone. */
export const root = fileURLToPath(new URL('../..', import.meta.url))

const TAIL_LINES = 40
const STILL_AT_IT_MS = 10_000

/** Something that the person at the keyboard must put right: one sentence, and the end of the log where there is one. */
export class Failure extends Error {
  constructor(message, tail = '') {
    super(message)
    this.tail = tail
  }
}

/** A line of progress. */
export function say(text) {
  process.stderr.write(`bootstrap: ${text}\n`)
}

/**
 * Runs a program to its end, saying what it does, every ten seconds that it still does it, and that it is done.
 * Rejects with a Failure that holds the tail of its output.
 */
export async function step(what, command, args, env = {}) {
  say(`${what} …`)
  const started = performance.now()
  const seconds = () => `${((performance.now() - started) / 1000).toFixed(0)} s`
  const progress = setInterval(() => say(`${what}: still at it after ${seconds()}`), STILL_AT_IT_MS)
  try {
    const { code, output } = await run(command, args, env)
    if (code !== 0) {
      const sentence = `${what} failed: \`${command} ${args.join(' ')}\` ended with ${code}; the end of its log follows.`
      throw new Failure(sentence[0].toUpperCase() + sentence.slice(1), tail(output))
    }
  } finally {
    clearInterval(progress)
  }
  say(`${what}: done in ${seconds()}`)
}

function run(command, args, env) {
  return new Promise(resolve => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const killChild = () => child.kill('SIGTERM')
    process.once('exit', killChild)
    let output = ''
    const keep = text => (output = (output + text).slice(-100_000))
    child.stdout.setEncoding('utf8').on('data', keep)
    child.stderr.setEncoding('utf8').on('data', keep)
    const end = code => {
      process.off('exit', killChild)
      resolve({ code, output })
    }
    child.once('error', error => end(error.message))
    child.once('close', (code, signal) => end(code ?? signal))
  })
}

function tail(output) {
  const lines = output.split('\n').filter(line => !/^(npm error)?\s*$/.test(line))
  return lines.slice(-TAIL_LINES).join('\n')
}

/** Does the work of a script; a Failure becomes its sentence and exit code 2. */
export async function main(work) {
  try {
    await work()
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    process.stderr.write(`${error.message}\n${error.tail ? `\n${error.tail}\n` : ''}`)
    process.exitCode = 2
  }
}

/** Ends on a signal through `process.exit`, so that the exit handlers clean up. */
export function exitOnSignals() {
  for (const [signal, number] of Object.entries({ SIGHUP: 1, SIGINT: 2, SIGTERM: 15 })) {
    process.once(signal, () => process.exit(128 + number))
  }
}
