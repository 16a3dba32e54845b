import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcessByStdio } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { forgetProcess, killWithThisProcess } from '../../test/support/guardian.ts'
import type { Side } from '../core/alternate.ts'
import { WrongResultError } from '../core/check.ts'
import { startServer } from '../core/redis-server.ts'

const python = '/usr/bin/python3'
const folder = fileURLToPath(new URL('./python/', import.meta.url))
/** For the start, and for each round: whatever takes longer is a failure, not a measurement. */
const withinMs = 60_000

const peers = [
  {
    name: 'Celery',
    modules: ['celery', 'redis'],
    script: 'celery_side.py',
    how: 'group(noop.s(i) …).apply_async().get(); one prefork worker with concurrency 2, prefetch multiplier 64, no events, gossip or heartbeat; broker and results on Redis',
  },
  {
    name: 'Dask',
    modules: ['distributed'],
    script: 'dask_side.py',
    how: 'client.gather(client.map(noop, inputs, pure=False)); LocalCluster of 2 processes with one thread each: no Redis, nothing survives',
  },
] as const

type Peer = (typeof peers)[number]

/** The sides of peers in Python that work here, opened, and what there is to say of the others. */
export async function pythonSides(
  tasks: number,
): Promise<{ readonly sides: readonly Side[]; readonly notes: readonly string[] }> {
  const sides: Side[] = []
  const notes: string[] = []
  for (const peer of peers) {
    const version = versionOf(peer)
    if (version === undefined) {
      notes.push(`${peer.name}: not installed (npm run bench -- --install-python-peers)`)
      continue
    }
    try {
      sides.push(await openSide(peer, tasks))
      notes.push(`${peer.name} ${version}: ${tasks} tasks a round`)
    } catch (error) {
      notes.push(`${peer.name} ${version}: could not be started: ${(error as Error).message}`)
    }
  }
  return { sides, notes }
}

function versionOf({ modules }: Peer): string | undefined {
  const code = `import ${modules.join(', ')}; print(${modules[0]}.__version__)`
  const { status, stdout } = spawnSync(python, ['-c', code], { encoding: 'utf8', timeout: 20_000 })
  return status === 0 ? stdout.trim() : undefined
}

async function openSide({ name, how, script }: Peer, tasks: number): Promise<Side> {
  const server = await startServer()
  const child = spawn(python, [script], {
    cwd: folder,
    env: { ...process.env, BENCH_REDIS: `${server.url}/0`, PYTHONDONTWRITEBYTECODE: '1' },
    stdio: ['pipe', 'pipe', 'ignore'],
    // Its workers are processes too, and end with the group.
    detached: true,
  })
  const pid = child.pid
  if (pid === undefined) throw new Error(`${python} could not be started.`)
  killWithThisProcess(-pid)
  const answers = new Answers(name, child)
  const close = async () => {
    child.stdin.end()
    await answers.ended
    forgetProcess(-pid)
    await server.stop()
  }
  try {
    await answers.next()
  } catch (error) {
    await close()
    throw error
  }
  return {
    name,
    how,
    async round() {
      child.stdin.write(`${tasks}\n`)
      const { seconds, right } = await answers.next()
      if (seconds === undefined || right !== true) throw new WrongResultError(`${name} gave other results.`)
      return tasks / seconds
    },
    close,
  }
}

interface Answer {
  readonly seconds?: number
  readonly right?: boolean
}

/** The lines that a program prints, one at a time, each within its time. */
class Answers {
  readonly ended: Promise<void>
  readonly #name: string
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: AsyncIterator<string>

  constructor(name: string, child: ChildProcessByStdio<Writable, Readable, null>) {
    this.#name = name
    this.#child = child
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    this.ended = new Promise(resolve => {
      child.once('exit', () => {
        killGroup(child.pid)
        resolve()
      })
    })
  }

  async next(): Promise<Answer> {
    const timer = setTimeout(() => {
      killGroup(this.#child.pid)
    }, withinMs)
    try {
      const line = await this.#lines.next()
      if (line.done === true) throw new Error(`${this.#name} ended, or did not answer within ${withinMs / 1000} s.`)
      return JSON.parse(line.value) as Answer
    } finally {
      clearTimeout(timer)
    }
  }
}

function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // All of it is gone already.
  }
}
