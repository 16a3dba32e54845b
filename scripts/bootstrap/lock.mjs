import { readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { say } from './step.mjs'

// One for all clones of a user, since apt is one for all of them.
const PATH = join(tmpdir(), `millrace-bootstrap-${userInfo().uid}.lock`)
const TOUCH_MS = 1_000
const ABANDONED_MS = 10_000
const SETTLE_MS = 200

/** Waits for the only right to install things, and resolves with what gives it back. */
export async function lock() {
  const token = `${process.pid} ${Math.random()}`
  for (let waiting = false; !(await take(token)); waiting = true) {
    if (!waiting) say(`waiting for another bootstrap to finish (${PATH})`)
    await sleep(SETTLE_MS)
  }

  const touching = setInterval(touch, TOUCH_MS)
  const release = () => {
    clearInterval(touching)
    if (holder() === token) rmSync(PATH, { force: true })
  }
  process.once('exit', release)
  return release
}

async function take(token) {
  if (create(token)) return true
  if (!isAbandoned()) return false
  // Another may have seen the same and be ahead: then this removes its file, not the abandoned one. So both look again
  // a while later, and only the one whose file is left goes on.
  rmSync(PATH, { force: true })
  if (!create(token)) return false
  await sleep(SETTLE_MS)
  return holder() === token
}

function create(token) {
  try {
    writeFileSync(PATH, token, { flag: 'wx' })
    return true
  } catch (error) {
    if (error.code === 'EEXIST') return false
    throw error
  }
}

// A holder that was killed touches its file no more. (Its pid would tell sooner, but not across containers.)
function isAbandoned() {
  const touchedMs = statSync(PATH, { throwIfNoEntry: false })?.mtimeMs
  return touchedMs !== undefined && Date.now() - touchedMs > ABANDONED_MS
}

function holder() {
  try {
    return readFileSync(PATH, 'utf8')
  } catch {
    return undefined
  }
}

function touch() {
  const now = new Date()
  try {
    utimesSync(PATH, now, now)
  } catch {
    // Somebody removed it. The work goes on: stopping half-way would be worse than two at once.
  }
}
