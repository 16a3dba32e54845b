import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Redis } from 'ioredis'
import { expect, vi } from 'vitest'
import {
  acquireEmbeddedRedis,
  type EmbeddedRedis,
  type EmbeddedRedisOptions,
} from '../../../src/embedded/embedded-redis.ts'
import { openPlace, type Place } from '../../../src/embedded/place.ts'
import { askInfo, askRedis } from '../../../src/embedded/resp.ts'

/** A process that holds the embedded Redis of a project, as another program of the user would. */
export interface Holder {
  readonly child: ChildProcess
  readonly socketPath: string
}

/** A project and a temporary folder of its own, for one test. `close` leaves no process and no file behind. */
export class Sandbox {
  readonly root = realpathSync(mkdtempSync(join(tmpdir(), 'mr-')))
  readonly projectDir: string
  readonly #acquired: EmbeddedRedis[] = []
  readonly #children: ChildProcess[] = []

  constructor(projectName = 'project') {
    this.projectDir = join(this.root, projectName)
    mkdirSync(this.projectDir, { recursive: true })
    mkdirSync(join(this.root, 't'))
    vi.stubEnv('TMPDIR', join(this.root, 't'))
  }

  place(): Promise<Place> {
    return openPlace(this.projectDir)
  }

  async acquire(options: Partial<EmbeddedRedisOptions> = {}): Promise<EmbeddedRedis> {
    const redis = await acquireEmbeddedRedis({ projectDir: this.projectDir, lingerMs: 100, ...options })
    this.#acquired.push(redis)
    return redis
  }

  /** Starts another process that acquires, and resolves when it has. */
  async hold(options: Partial<EmbeddedRedisOptions> = {}): Promise<Holder> {
    const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
    const program = fileURLToPath(new URL('./holder.ts', import.meta.url))
    const given = JSON.stringify({ projectDir: this.projectDir, lingerMs: 100, ...options })
    const child = spawn(process.execPath, ['--import', tsx, program, given], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#children.push(child)
    const socketPath = await new Promise<string>((resolve, reject) => {
      child.once('exit', code => {
        reject(new Error(`the holder ended with ${code ?? 'a signal'}`))
      })
      child.stdout.once('data', (line: Buffer) => {
        resolve(line.toString().trim())
      })
    })
    return { child, socketPath }
  }

  /** The pids of the Redis servers that run on this project's data. */
  async servers(): Promise<number[]> {
    const { hash } = await this.place()
    return processes().flatMap(({ pid, command }) => (command.includes(`${hash}.redis.sock`) ? [pid] : []))
  }

  /** The pids of the supervisors of this project, of those too that are about to give way. */
  supervisors(): number[] {
    return processes().flatMap(({ pid, command }) =>
      command.includes('/supervisor.ts') && command.includes(this.root) ? [pid] : [],
    )
  }

  /** The files that supervisors announce themselves with. */
  async announcements(): Promise<string[]> {
    const { dataDir } = await this.place()
    return readdirSync(dataDir).filter(name => name.startsWith('supervisor-'))
  }

  /** The pid of the one supervisor, as its announcement says. */
  async supervisor(): Promise<number> {
    const { dataDir } = await this.place()
    const [name = ''] = await this.announcements()
    const fields = JSON.parse(readFileSync(join(dataDir, name), 'utf8')) as { pid: number }
    return fields.pid
  }

  /** Fails if anything still runs some time after the last client has gone; then it ends that too. */
  async close(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL')
    await Promise.all(this.#acquired.map(redis => redis.release()))
    const running = async () => [...this.supervisors(), ...(await this.servers())]
    try {
      await vi.waitFor(async () => expect(await running()).toEqual([]), { timeout: 15_000 })
    } finally {
      for (const pid of await running()) process.kill(pid, 'SIGKILL')
      vi.unstubAllEnvs()
      rmSync(this.root, { recursive: true, force: true })
    }
  }
}

/** The text of one reply; throws on an error or on none. */
export async function ask(socketPath: string, ...command: string[]): Promise<string> {
  const reply = await askRedis(socketPath, command, 2_000)
  if (reply === undefined) throw new Error(`no reply to ${command.join(' ')}`)
  if ('error' in reply) throw new Error(reply.error)
  return reply.text
}

/** One setting of the server, as it is in force. */
export async function configured(socketPath: string, name: string): Promise<string | undefined> {
  const client = new Redis(socketPath)
  try {
    const [, value] = await client.config('GET', name)
    return value
  } finally {
    client.disconnect()
  }
}

/** What names one run of one server. */
export async function runId(socketPath: string): Promise<string> {
  const id = (await askInfo(socketPath, 'server', 2_000)).get('run_id')
  if (id === undefined) throw new Error('no answer')
  return id
}

function processes(): { pid: number; command: string }[] {
  const lines = execFileSync('ps', ['-axww', '-o', 'pid=,stat=,command='], { encoding: 'utf8' }).split('\n')
  return lines.flatMap(line => {
    const [, pid, state, command] = /^\s*(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? []
    return pid === undefined || command === undefined || state?.startsWith('Z') === true
      ? []
      : [{ pid: Number(pid), command }]
  })
}
