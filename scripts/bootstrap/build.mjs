import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, sep } from 'node:path'
import { step } from './step.mjs'

/** Whether dist/ was built from the sources as they are now, and is whole. */
export function isBuilt(root) {
  const stamp = stampPath(root)
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== fingerprint(root)) return false
  return sources(root).every(path => existsSync(join(root, 'dist', outputOf(path))))
}

/** Compiles src/ into dist/ and exchanges the whole folder, so that no file of a source that is gone stays behind. */
export async function build(root) {
  const built = fingerprint(root)
  const [dist, fresh, old] = ['dist', 'dist.new', 'dist.old'].map(name => join(root, name))
  for (const folder of [fresh, old]) rmSync(folder, { recursive: true, force: true })
  try {
    const compiler = join('node_modules', 'typescript', 'bin', 'tsc')
    await step('building dist/', process.execPath, [compiler, '-p', 'tsconfig.build.json', '--outDir', 'dist.new'])
    for (const path of sources(root).filter(path => path === outputOf(path))) {
      mkdirSync(dirname(join(fresh, path)), { recursive: true })
      copyFileSync(join(root, 'src', path), join(fresh, path))
    }
    if (existsSync(dist)) renameSync(dist, old)
    renameSync(fresh, dist)
    writeFileSync(stampPath(root), built)
  } finally {
    for (const folder of [fresh, old]) rmSync(folder, { recursive: true, force: true })
  }
}

// Not in dist/, which is published; and gone with node_modules, where a new compiler may come from.
function stampPath(root) {
  return join(root, 'node_modules', '.millrace-built')
}

function fingerprint(root) {
  const hash = createHash('sha256')
  const inputs = sources(root).map(path => join('src', path))
  for (const path of ['tsconfig.json', 'tsconfig.build.json', ...inputs]) {
    const content = readFileSync(join(root, path))
    hash.update(`${path} ${content.length}\n`).update(content)
  }
  return hash.digest('hex')
}

function sources(root) {
  const folder = join(root, 'src')
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name).slice(folder.length + sep.length))
    .sort()
}

/** The compiled form of a TypeScript source; other files are copied. */
function outputOf(path) {
  return path.endsWith('.d.ts') ? path : path.replace(/\.ts$/, '.js')
}
