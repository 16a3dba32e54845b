import { execFile } from 'node:child_process'
import { accessSync, chmodSync, constants, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { Failure, say, step } from './step.mjs'
import { isOlder } from './version.mjs'

/** A Redis server program; embedded mode and the tests run it. Throws a Failure if it is missing for good. */
export const redisServer = {
  debianPackage: 'redis-server',
  async isMissing() {
    const [found, oldest] = onPath('redis-server')
      ? ['redis-server', '7.0']
      : onPath('valkey-server')
        ? ['valkey-server', '7.2']
        : []
    if (!found) {
      refuseUnlessInstallable('redis-server', 'Redis 7.0 (or Valkey 7.2) or newer', 'macOS: `brew install redis`')
      return true
    }
    const { stdout } = await promisify(execFile)(found, ['--version'])
    const version = /\bv=(\d+\.\d+)/.exec(stdout)?.[1]
    if (version && isOlder(version, oldest)) {
      throw new Failure(
        `The ${found} on PATH is version ${version}, and Millrace needs ${oldest} or newer: install a newer one (https://redis.io/docs/latest/operate/oss_and_stack/install/), then try again.`,
      )
    }
    return false
  },
}

/** A browser, for the tests of the dashboard. */
export const chromium = {
  debianPackage: 'chromium',
  async isMissing() {
    if (onPath('chromium')) return false
    refuseUnlessInstallable('chromium', 'Chromium', 'macOS: `brew install --cask chromium`')
    return true
  },
}

function onPath(program) {
  return (process.env.PATH ?? '').split(delimiter).some(folder => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return folder !== ''
    } catch {
      return false
    }
  })
}

function refuseUnlessInstallable(program, what, elsewhere) {
  if (!onPath('apt-get')) {
    throw new Failure(
      `${program} is not on PATH, and there is no apt-get here to install it with: install ${what} with this system's package manager (${elsewhere}), then try again.`,
    )
  }
  if (process.getuid() !== 0) {
    throw new Failure(
      `${program} is not on PATH, and only root may install it: run \`sudo apt-get install ${program}\`, then try again.`,
    )
  }
}

/** Installs Debian packages without letting them start a service. */
export async function installSystemPackages(names) {
  const env = { DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' }
  // Another apt-get or unattended-upgrades may be at work.
  const patiently = ['-o', 'DPkg::Lock::Timeout=120']
  const allowServices = forbidServices()
  try {
    // One unreachable source of many fails the update and need not matter; if it does, the installation says so.
    await step('updating the package lists', 'apt-get', [...patiently, '-q', 'update'], env).catch(error => {
      if (!(error instanceof Failure)) throw error
      say('updating the package lists: failed; trying with those that are here')
    })
    const install = [...patiently, '-q', '-y', '--no-install-recommends', 'install', ...names]
    await step(`installing ${names.join(' and ')}`, 'apt-get', install, env)
    // Debian enables what it installs; Millrace starts its own server and wants none on port 6379 after a reboot.
    if (names.includes('redis-server') && onPath('systemctl')) {
      await promisify(execFile)('systemctl', ['disable', 'redis-server']).catch(() => undefined)
    }
  } finally {
    allowServices()
  }
}

const POLICY_PATH = '/usr/sbin/policy-rc.d'
const POLICY =
  '#!/bin/sh\n# Written by the bootstrap of Millrace while it installs packages; safe to remove.\nexit 101\n'

/**
 * Debian asks this program before a package may start its service; 101 means no. One that is there already is the
 * administrator's word and stays, unless it is ours, left by a bootstrap that was killed.
 */
function forbidServices() {
  try {
    writeFileSync(POLICY_PATH, POLICY, { flag: 'wx' })
  } catch (error) {
    if (error.code !== 'EEXIST') throw error
    if (readFileSync(POLICY_PATH, 'utf8') !== POLICY) return () => undefined
  }
  chmodSync(POLICY_PATH, 0o755)
  const allow = () => rmSync(POLICY_PATH, { force: true })
  process.once('exit', allow)
  return () => {
    process.off('exit', allow)
    allow()
  }
}
