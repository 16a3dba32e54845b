import { chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { spawnNode, type NodeProcess } from '../support/process.ts'

const scripts = fileURLToPath(new URL('../../scripts', import.meta.url))

/** A project of its own that has the real scripts, on a machine that has only the programs put there. */
export class Sandbox {
  readonly root: string
  readonly #env: Record<string, string>

  private constructor(root: string) {
    this.root = root
    this.#env = { PATH: join(root, 'bin'), TMPDIR: join(root, 'tmp'), LOG: join(root, 'calls.log') }
  }

  static async create(): Promise<Sandbox> {
    const sandbox = new Sandbox(await mkdtemp(join(tmpdir(), 'millrace-scripts-')))
    for (const folder of ['bin', 'tmp']) await mkdir(join(sandbox.root, folder))
    await writeFile(join(sandbox.root, 'calls.log'), '')
    await cp(scripts, join(sandbox.root, 'scripts'), { recursive: true })
    return sandbox
  }

  async remove(): Promise<void> {
    await rm(this.root, { recursive: true, force: true })
  }

  async write(path: string, text: string): Promise<void> {
    await mkdir(dirname(join(this.root, path)), { recursive: true })
    await writeFile(join(this.root, path), text)
  }

  read(path: string): Promise<string> {
    return readFile(join(this.root, path), 'utf8')
  }

  /** Puts a program there. It is a module that Node runs, and what it is called with stands in `calls`. */
  async writeProgram(path: string, code = ''): Promise<void> {
    const log = `import { appendFileSync } from 'node:fs'
      import { basename } from 'node:path'
      appendFileSync(process.env.LOG, [basename(process.argv[1], '.mjs'), ...process.argv.slice(2)].join(' ') + '\\n')\n`
    await this.write(`${path}.mjs`, log + code)
    // The program itself is a shell script, since the module's name needs its ending.
    await this.write(path, `#!/bin/sh\nexec '${process.execPath}' '${join(this.root, path)}.mjs' "$@"\n`)
    await chmod(join(this.root, path), 0o755)
  }

  /** The programs that ran and their arguments, in order. */
  async calls(): Promise<string[]> {
    return (await this.read('calls.log')).split('\n').slice(0, -1)
  }

  /** Starts a script with Node; `preload` is code that runs before it. */
  start(script: string, args: readonly string[] = [], preload = ''): NodeProcess {
    const imports = preload === '' ? [] : ['--import', `data:text/javascript,${encodeURIComponent(preload)}`]
    return spawnNode([...imports, join(this.root, 'scripts', script), ...args], { cwd: this.root, env: this.#env })
  }

  /** Runs a script to its end. */
  async run(script: string, args: readonly string[] = [], preload = ''): Promise<ScriptResult> {
    const child = this.start(script, args, preload)
    const { code } = await child.exited
    return { code, stdout: child.stdout, stderr: child.stderr }
  }
}

export interface ScriptResult {
  readonly code: number | null
  readonly stdout: readonly string[]
  readonly stderr: readonly string[]
}
