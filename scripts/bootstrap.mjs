#!/usr/bin/env node
/**
 * Makes a clone ready to run: npm packages, a redis-server, dist/ (and a browser with --chromium). Needs nothing but
 * Node, npm and, where Redis is missing, apt-get as root. Silent and quick when nothing is missing.
 * Exit codes: 0 ready, 2 something is missing that this could not get, in one sentence on stderr.
 */
import { chromium, installSystemPackages, redisServer } from './bootstrap/apt.mjs'
import { build, isBuilt } from './bootstrap/build.mjs'
import { lock } from './bootstrap/lock.mjs'
import { arePackagesInstalled, installPackages } from './bootstrap/packages.mjs'
import { exitOnSignals, Failure, main, root } from './bootstrap/step.mjs'
import { isOlder } from './bootstrap/version.mjs'

function refuseOldNode() {
  if (!isOlder(process.versions.node, '20.19')) return
  throw new Failure(
    `Millrace needs Node 20.19 or newer, and this is ${process.versions.node}: install a newer one from https://nodejs.org or with your version manager, then try again.`,
  )
}

/** What is missing; refuses at once what could not be put right. */
async function findMissing(wanted) {
  const system = []
  for (const program of wanted) if (await program.isMissing()) system.push(program.debianPackage)
  const packages = !arePackagesInstalled(root)
  const dist = packages || !isBuilt(root)
  return { system, packages, dist, nothing: system.length === 0 && !dist }
}

async function bootstrap(args) {
  refuseOldNode()
  const wanted = args.includes('--chromium') ? [redisServer, chromium] : [redisServer]
  if ((await findMissing(wanted)).nothing) return

  exitOnSignals()
  const unlock = await lock()
  try {
    // Whoever held the lock may have done it all meanwhile.
    const missing = await findMissing(wanted)
    const outcomes = await Promise.allSettled([
      missing.system.length > 0 && installSystemPackages(missing.system),
      (async () => {
        if (missing.packages) await installPackages()
        if (missing.dist) await build(root)
      })(),
    ])
    // Looked at only now: ending while the other installation is half done would leave a worse mess.
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
    // What apt installs may be older than what is needed, which this refuses, or not be on this PATH.
    for (const { isMissing, debianPackage } of wanted) {
      if (await isMissing()) throw new Failure(`${debianPackage} is installed now, but its program is not on PATH.`)
    }
  } finally {
    unlock()
  }
}

await main(() => bootstrap(process.argv.slice(2)))
