import { execFile, spawn } from 'node:child_process'
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { forgetProcess, killWithThisProcess, removeWithThisProcess } from './guardian.ts'
import { until } from './until.ts'

export interface RedisOptions {
  /** When the append-only file is synced. @default 'no': there is none, and nothing survives a kill. */
  readonly appendonly?: 'always' | 'everysec' | 'no'
  /** Listen on a free port of 127.0.0.1 too; it stays the same over restarts. @default false */
  readonly port?: boolean
  /** Further lines of redis.conf, which win over those here: `{ save: '60 1', maxmemory: '20mb' }`. */
  readonly config?: Readonly<Record<string, string>>
  /** Further arguments for the program, such as `--sentinel`. */
  readonly args?: readonly string[]
  /** Where the data lie. The caller's to remove. @default a temporary folder that is removed by `stop` */
  readonly dir?: string
}

// A socket path must stay under 104 bytes (macOS; Linux 108), which a long TMPDIR alone may exceed.
const HOME = tmpdir().length > 60 || /\s/.test(tmpdir()) ? '/tmp' : tmpdir()
const START_TIMEOUT_MS = 60_000

/** Starts a private redis-server (or valkey-server) and waits until it answers. It dies with the test process. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisProcess> {
  const program = await findProgram()
  // Between finding a free port and listening on it another test may take it: then choose again.
  for (let attemptsLeft = options.port ? 5 : 1; ; attemptsLeft--) {
    const home = await mkdtemp(join(HOME, 'millrace-'))
    removeWithThisProcess(home)
    const redis = new RedisProcess(program, home, options, options.port ? await freePort() : undefined)
    try {
      await redis.restart()
      return redis
    } catch (error) {
      await redis.stop()
      if (attemptsLeft <= 1) throw error
    }
  }
}

/** A redis-server of a test. `await using` stops it. */
export class RedisProcess {
  /** What the store takes: `redis://127.0.0.1:PORT` with a port, else `unix:///…/redis.sock`. */
  readonly url: string
  readonly socketPath: string
  readonly port: number | undefined
  readonly dir: string
  readonly #program: RedisProgram
  readonly #home: string
  readonly #options: RedisOptions
  #pid = 0
  #exited: Promise<void> | undefined

  /** Starts nothing; see `startRedis`. */
  constructor(program: RedisProgram, home: string, options: RedisOptions, port: number | undefined) {
    this.#program = program
    this.#home = home
    this.#options = options
    this.dir = options.dir ?? home
    this.port = port
    this.socketPath = join(home, 'redis.sock')
    this.url = port === undefined ? `unix://${this.socketPath}` : `redis://127.0.0.1:${port}`
  }

  /** Of the running server, or of the last one that ran. */
  get pid(): number {
    return this.#pid
  }

  /**
   * Ends the server if it runs (SIGTERM, so that it saves what it is configured to), and starts it on the same data.
   * `extraConfig`: lines of redis.conf for this start alone.
   */
  async restart(extraConfig: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.kill('SIGTERM')
    const configPath = join(this.#home, 'redis.conf')
    await writeFile(configPath, this.#config(extraConfig))
    const log = await open(this.#logPath, 'a')
    const child = spawn(this.#program.server, [configPath, ...(this.#options.args ?? [])], {
      stdio: ['ignore', log.fd, log.fd],
    })
    await log.close()
    let ended: string | undefined
    const exited = new Promise<void>(resolve => {
      child.once('error', error => {
        ended = error.message
        resolve()
      })
      child.once('exit', (code, signal) => {
        ended = signal ?? `code ${String(code)}`
        forgetProcess(this.#pid)
        this.#exited = undefined
        resolve()
      })
    })
    if (child.pid !== undefined) {
      this.#pid = child.pid
      this.#exited = exited
      killWithThisProcess(child.pid)
    }
    await until(async () => ended ?? (await this.cli('PING')) === 'PONG', {
      what: `${this.#program.server} answers PING`,
      timeoutMs: START_TIMEOUT_MS,
    })
    if (ended !== undefined) {
      throw new Error(`${this.#program.server} did not start (${ended}):\n${await this.#logTail()}`)
    }
  }

  /** Sends the signal and, unless it is SIGSTOP or SIGCONT, waits until the server is gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (!this.#exited) return
    process.kill(this.#pid, signal)
    if (signal !== 'SIGSTOP' && signal !== 'SIGCONT') await this.#exited
  }

  /** Kills the server and removes its temporary folder. Safe twice. */
  async stop(): Promise<void> {
    await this.kill('SIGKILL')
    await rm(this.#home, { recursive: true, force: true })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  /** Runs one command and resolves with what redis-cli prints for its reply; rejects when the reply is an error. */
  async cli(...args: string[]): Promise<string> {
    const connected = ['-e', '-s', this.socketPath, ...args]
    const { stdout } = await execute(this.#program.cli, connected, { timeout: 10_000, maxBuffer: 256 * 1024 * 1024 })
    return stdout.replace(/\n$/, '')
  }

  #config(extraConfig: Readonly<Record<string, string>>): string {
    const { appendonly = 'no', config = {} } = this.#options
    const lines = {
      port: String(this.port ?? 0),
      bind: '127.0.0.1',
      unixsocket: this.socketPath,
      dir: `"${this.dir}"`,
      save: '""',
      appendonly: appendonly === 'no' ? 'no' : 'yes',
      ...(appendonly !== 'no' && { appendfsync: appendonly }),
      'enable-debug-command': 'local',
      ...config,
      ...extraConfig,
    }
    return Object.entries(lines)
      .map(([name, value]) => `${name} ${value}\n`)
      .join('')
  }

  get #logPath(): string {
    return join(this.#home, 'redis.log')
  }

  async #logTail(): Promise<string> {
    const log = await readFile(this.#logPath, 'utf8')
    return log.trimEnd().split('\n').slice(-10).join('\n')
  }
}

interface RedisProgram {
  readonly server: string
  readonly cli: string
}

const execute = promisify(execFile)

async function findProgram(): Promise<RedisProgram> {
  for (const name of ['redis', 'valkey']) {
    const program = { server: `${name}-server`, cli: `${name}-cli` }
    const works = await execute(program.server, ['--version']).then(
      () => true,
      () => false,
    )
    if (works) return program
  }
  throw new Error('neither redis-server nor valkey-server is on PATH; `node scripts/bootstrap.mjs` installs one')
}

/** A port of 127.0.0.1 that nobody listened on a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => {
        if (address === null || typeof address === 'string') reject(new Error('no port was given'))
        else resolve(address.port)
      })
    })
  })
}
