import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { step } from './step.mjs'

/**
 * Whether node_modules is what package-lock.json says. npm keeps its own record of what it has installed there, whoever
 * ran it; it writes that last, so that an interrupted installation has none.
 */
export function arePackagesInstalled(root) {
  const locked = readPackages(join(root, 'package-lock.json'))
  const installed = readPackages(join(root, 'node_modules', '.package-lock.json'))
  if (!locked || !installed) return false
  for (const [path, { version, integrity, optional }] of Object.entries(locked)) {
    if (path === '') continue
    const found = installed[path]
    if (found ? found.version !== version || found.integrity !== integrity : !optional) return false
  }
  return Object.keys(installed).every(path => path in locked)
}

function readPackages(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages
  } catch {
    return undefined
  }
}

export async function installPackages() {
  await step('installing the npm packages of package-lock.json', 'npm', [
    'ci',
    // A NODE_ENV of production would leave out the compiler.
    '--include=dev',
    // None of them needs its install script here (esbuild brings its program in a package of its own, msgpackr-extract
    // its prebuilt addon), and npm 11 would print a warning for each.
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--loglevel=warn',
  ])
}
