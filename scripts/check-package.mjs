#!/usr/bin/env node
/**
 * Checks what `npm publish` would publish: packs it, lets publint and attw look at it, and uses it from a project of its
 * own that has nothing but the package and its declared dependencies.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const bin = name => join(root, 'node_modules', '.bin', name)
const folder = mkdtempSync(join(tmpdir(), 'millrace-package-'))

try {
  const tarball = pack()
  check(bin('publint'), ['--strict', tarball])
  check(bin('attw'), ['--profile', 'esm-only', '--format', 'ascii', '--no-emoji', tarball])
  const project = install(tarball)
  for (const [specifier, name] of [
    ['millrace', 'connect'],
    ['millrace/worker', 'startWorker'],
  ]) {
    const code = `import { ${name} } from '${specifier}'; if (typeof ${name} !== 'function') throw new TypeError(typeof ${name})`
    check(process.execPath, ['--input-type=module', '-e', code], project)
  }
  compileAgainst(project)
  check(process.execPath, [join('node_modules', 'millrace', 'dist', 'cli', 'main.js'), '--help'], project)
} catch (error) {
  if (error.stdout === undefined) throw error
  process.stdout.write(`${error.message.split('\n')[0]}\n${error.stdout}${error.stderr}`)
  process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}

function check(command, args, cwd = root) {
  return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

function pack() {
  // dist/ is up to date here, and building it in the midst of a test run would pull it from under the tests.
  const [packed] = JSON.parse(check('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder]))
  return join(folder, packed.filename)
}

/** What `npm install TARBALL` would do, without the network: dependencies are links to those already installed. */
function install(tarball) {
  const project = join(folder, 'project')
  const modules = join(project, 'node_modules')
  mkdirSync(join(modules, 'millrace'), { recursive: true })
  check('tar', ['-xzf', tarball, '-C', join(modules, 'millrace'), '--strip-components=1'])
  const { dependencies } = JSON.parse(readFileSync(join(modules, 'millrace', 'package.json'), 'utf8'))
  for (const name of [...Object.keys(dependencies), '@types/node']) {
    mkdirSync(dirname(join(modules, name)), { recursive: true })
    symlinkSync(join(root, 'node_modules', name), join(modules, name))
  }
  return project
}

/** A strict nodenext project must compile against the published types. */
function compileAgainst(project) {
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }\n')
  writeFileSync(
    join(project, 'main.ts'),
    `import * as millrace from 'millrace'\nimport { startWorker } from 'millrace/worker'\nconsole.log(millrace.connect, startWorker)\n`,
  )
  const strict = ['--noEmit', '--strict', '--target', 'es2023', '--module', 'nodenext', '--types', 'node']
  check(bin('tsc'), [...strict, 'main.ts'], project)
}
