import { appendFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { reducer, task } from '../../../src/index.ts'

export const square = task('square', (x: number) => x * x)
export const same = task('same', (x: number) => x)
export const echo = task('echo', (value: unknown) => value)
export const bytesOf = task('bytesOf', (bytes: Uint8Array) => bytes.length)
export const nothing = task('nothing', () => 'done')
export const text = task('text', (x: number) => `<${x}>`)
export const refuse = task('refuse', (x: number) => {
  if (x % 5 === 3) throw new RangeError(`no ${x}`)
  return x
})
export const refuseThenDo = task(
  'refuseThenDo',
  (x: number, ctx) => {
    if (ctx.attempt === 1) throw new Error('not yet')
    return x
  },
  { retries: 1, backoffMs: 20_000 },
)
/** Waits, so that it can be caught running. */
export const wait = task('wait', async ({ ms, value }: { ms: number; value: number }, ctx) => {
  await sleep(ms, undefined, { signal: ctx.signal })
  return value
})
/** Takes its process down, and says something first. */
export const lethal = task('lethal', async (says: string, ctx) => {
  ctx.log(says)
  await sleep(50)
  process.kill(process.pid, 'SIGKILL')
})
/** Leaves a line in a file for each time that it runs. */
export const note = task('note', async ({ file, line, ms = 0 }: { file: string; line: string; ms?: number }) => {
  if (ms > 0) await sleep(ms)
  appendFileSync(file, `${line}\n`)
  return line
})
export const large = task('large', ({ bytes, fill }: { bytes: number; fill: number }) => Buffer.alloc(bytes, fill))
export const lookUp = task(
  'lookUp',
  (key: string, ctx: { readonly shared: Readonly<Record<string, number>> }) => ctx.shared[key] ?? -1,
)
export const add = reducer('add', (a: number, b: number) => a + b)
export const join = reducer('join', (a: string, b: string) => a + b)

let setting = 'unset'
export const set = task('set', (value: string) => {
  const before = setting
  setting = value
  if (value === 'bad') throw new TypeError('bad value')
  return before
})
