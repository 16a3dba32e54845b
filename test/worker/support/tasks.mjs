import { setTimeout as sleep } from 'node:timers/promises'
import { execFileSync } from 'node:child_process'
import { pbkdf2Sync } from 'node:crypto'
import { appendFileSync, existsSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import { reducer, task } from 'millrace'

/** Tasks that behave in every way a worker must cope with. */
export const square = task('square', x => x * x)
export const add = reducer('add', (a, b) => a + b)
export const odd = task('odd', x => {
  if (x % 2 === 1) throw new RangeError(`${x} is odd`)
  return x
})
export const flaky = task(
  'flaky',
  (x, ctx) => {
    if (ctx.attempt < 3) throw new Error(`attempt ${ctx.attempt}`)
    return ctx.attempt
  },
  { retries: 3, backoffMs: 10 },
)
export const bad = task('bad', x => (x === 3 ? { inner: { fn: () => x } } : x))
export const waits = task(
  'waits',
  async (ms, ctx) => {
    await sleep(ms, undefined, { signal: ctx.signal })
    return ctx.worker
  },
  { concurrency: 20 },
)
export const late = task(
  'late',
  async (ms, ctx) => {
    ctx.signal.addEventListener('abort', () => ctx.log('aborted', ctx.signal.reason?.code))
    await sleep(ms)
    return ms
  },
  { timeoutMs: 200, concurrency: 4 },
)
function spin(ms) {
  const end = performance.now() + ms
  while (performance.now() < end);
}
export const spins = task('spins', (ms, ctx) => {
  spin(ms)
  return ctx.worker
})
export const limited = task(
  'limited',
  ms => {
    spin(ms)
    return ms
  },
  // So long that a busy machine does not keep a short task from ending in time.
  { timeoutMs: 1500 },
)
/** Yields once, then never again. */
export const stalls = task(
  'stalls',
  async ms => {
    await sleep(1)
    spin(ms)
    return ms
  },
  { timeoutMs: 300, concurrency: 4 },
)
export const exits = task('exits', (x, ctx) => {
  if (x === 5) {
    ctx.log('about to exit')
    process.exit(7)
  }
  return x
})
/** Combines as `add` does, until it meets a result that takes its thread down. */
export const addUnless = reducer('addUnless', (a, b) => {
  if (b === 25) process.exit(7)
  return a + b
})
/** Takes minutes for every step. */
export const addForever = reducer('addForever', (a, b) => {
  spin(180_000)
  return a + b
})
/** Ends for its caller at its time limit, and computes on for `ms` a moment later. */
export const lingers = task(
  'lingers',
  async ({ file, ms }) => {
    await sleep(600)
    appendFileSync(file, 'computes\n')
    spin(ms)
  },
  { timeoutMs: 200 },
)
/** Computes, then waits. */
export const computesFirst = task(
  'computesFirst',
  async ms => {
    spin(ms)
    await sleep(60_000)
  },
  { timeoutMs: 2500, concurrency: 2 },
)
export const throwsLater = task('throwsLater', async x => {
  if (x === 2)
    setTimeout(() => {
      throw new Error('thrown in a callback')
    }, 5)
  await sleep(40)
  return x
})
export const rejectsAside = task('rejectsAside', async x => {
  void Promise.reject(
    [
      new Error('nobody cares'),
      Object.create(null),
      new Proxy(new Error('hidden'), {
        get() {
          throw new Error('no')
        },
      }),
    ][x],
  )
  await sleep(5)
  return x
})
export const eats = task('eats', x => {
  if (x !== 1) return x
  const all = []
  for (;;) all.push(new Array(1000).fill({ x }))
})
export const scaled = task('scaled', (x, ctx) => x * ctx.shared.factor)
/** Runs in native code, which nothing can stop. */
export const stuckForAWhile = task('stuckForAWhile', () => execFileSync('sleep', ['4']).length, { timeoutMs: 300 })
const hang = () => pbkdf2Sync('a', 'b', 1e9, 64, 'sha512').length
export const stuck = task('stuck', hang, { timeoutMs: 300 })
export const stuckForEver = task('stuckForEver', file => {
  appendFileSync(file, 'stuck\n')
  return hang()
})
let setting = 'unset'
export const configure = task('configure', value => {
  setting = value
  return value
})
export const whichSetting = task('whichSetting', () => setting)
export const recorded = task('recorded', ({ file, ms, x }) => {
  appendFileSync(file, `${x}\n`)
  spin(ms)
  return x
})

/** Talks to who started its thread, as code for bare worker threads does. */
export const posts = task('posts', message => {
  parentPort.postMessage(message)
  return 'posted'
})

/** Gives back what it gets. */
export const echo = task('echo', input => input)
/** Ends its process when it is told to, unless `cure` is there. */
export const kills = task('kills', async ({ ms = 0, kill = false, signal = 'SIGKILL', says, cure }, ctx) => {
  if (says !== undefined) ctx.log(says)
  if (ms > 0) await sleep(ms)
  if (kill && !existsSync(cure ?? '/nowhere')) {
    process.kill(process.pid, signal)
    // Signals but SIGKILL take a moment.
    await sleep(60_000)
  }
  return ctx.attempt
})
/** Takes memory that no heap limit covers, without bound. */
export const hoards = task('hoards', async ({ hoard = false, ms = 0 }, ctx) => {
  const held = []
  while (hoard) {
    held.push(new Uint8Array(8 * 1024 * 1024).fill(held.length))
    await sleep(2)
  }
  spin(ms)
  return ctx.attempt
})
/** Misbehaves in a way of its own for each input. */
export const misbehaves = task('misbehaves', how => {
  switch (how) {
    case 'undefined':
      throw undefined
    case 'null':
      throw null
    case 'text':
      throw 'a text'
    case 'object':
      throw { code: 7, nested: { fn: () => 1 } }
    case 'getter':
      throw {
        get message() {
          throw new Error('no')
        },
      }
    case 'proxy':
      throw new Proxy(new Error('hidden'), {
        get() {
          throw new Error('no')
        },
      })
    case 'cycle': {
      const error = new Error('round')
      error.cause = error
      throw error
    }
    case 'rejects undefined':
      return Promise.reject()
    case 'thenable':
      return {
        then() {
          throw new Error('in then')
        },
      }
    case 'function':
      return () => 1
    case 'symbol':
      return Symbol('s')
    case 'class':
      return new (class Own {})()
    case 'deep': {
      let value = 1
      for (let i = 0; i < 10_000; i++) value = [value]
      return value
    }
    case 'hostile getter':
      return {
        get x() {
          throw new Error('in a getter')
        },
      }
    case 'too large':
      return Buffer.alloc(512 * 1024 * 1024)
    default:
      return how
  }
})

export const whole = task('whole', x => x)
/** Changes its input, and succeeds in its third attempt with what it was given. */
export const spoils = task(
  'spoils',
  (bytes, ctx) => {
    if (ctx.attempt === 3) return [ctx.attempt, bytes]
    bytes.fill(0)
    throw new Error(`attempt ${ctx.attempt}`)
  },
  { retries: 2, backoffMs: 10 },
)
export const slow = task('slow', async x => {
  await sleep(150)
  return x
})
/** Ends its thread unless `cure` is there. */
export const exitsUnless = task('exitsUnless', ({ cure }) => {
  if (!existsSync(cure)) process.exit(7)
  return 'cured'
})
