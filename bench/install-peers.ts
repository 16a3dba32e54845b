import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('.', import.meta.url))

/** Sees to it that the peers are installed as `package-lock.json` says. */
export async function installPeers({ python }: { readonly python: boolean }): Promise<void> {
  if (!areInstalled()) {
    run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=warn'])
  }
  if (python) {
    const packages = ['python3-celery', 'python3-redis', 'python3-distributed']
    run('apt-get', ['-q', 'update'])
    run('apt-get', ['-q', '-y', '--no-install-recommends', 'install', ...packages])
  }
}

/** npm writes its own record last, so that an interrupted installation has none. */
function areInstalled(): boolean {
  const record = new URL('./node_modules/.package-lock.json', import.meta.url)
  if (!existsSync(record)) return false
  const locked = packagesOf(new URL('./package-lock.json', import.meta.url))
  const installed = packagesOf(record)
  return Object.entries(locked).every(
    ([path, { version, optional }]) => path === '' || optional === true || installed[path]?.version === version,
  )
}

type Packages = Readonly<Record<string, { readonly version?: string; readonly optional?: boolean }>>

function packagesOf(file: URL): Packages {
  return (JSON.parse(readFileSync(file, 'utf8')) as { readonly packages: Packages }).packages
}

function run(command: string, args: readonly string[]): void {
  process.stderr.write(`bench: ${command} ${args.join(' ')} …\n`)
  const { status } = spawnSync(command, args, { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] })
  if (status === 0) return
  process.stderr.write(`bench: ${command} ended with ${String(status)}; what it said is above.\n`)
  process.exit(2)
}
