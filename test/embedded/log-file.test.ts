import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  closeSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { boundLog, lastLines, logSize } from '../../src/embedded/log-file.ts'

describe('the log', () => {
  let folder: string
  let log: string

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'mr-'))
    log = join(folder, 'redis.log')
  })

  afterEach(() => {
    rmSync(folder, { recursive: true })
  })

  it('is emptied into another file when it is large, under the eyes of its writer', () => {
    const writer = openSync(log, 'a')
    writeSync(writer, 'x'.repeat(5 * 1024 * 1024))
    boundLog(log)
    writeSync(writer, 'next\n')
    closeSync(writer)
    expect(logSize(log)).toBe(5)
    expect(statSync(`${log}.1`).size).toBe(5 * 1024 * 1024)
  })

  it('is emptied also where it can’t be copied', () => {
    writeFileSync(log, 'x'.repeat(5 * 1024 * 1024))
    mkdirSync(`${log}.1`)
    boundLog(log)
    expect(logSize(log)).toBe(0)
  })

  it('is left alone while it is small, or not there', () => {
    boundLog(log)
    writeFileSync(log, 'small\n')
    boundLog(log)
    expect(lastLines(log, 9)).toEqual(['small'])
  })

  it('gives its last lines, of what came after a mark', () => {
    expect(lastLines(log, 3)).toEqual([])
    writeFileSync(log, 'old\n')
    const mark = logSize(log)
    expect(lastLines(log, 3, mark)).toEqual([])
    appendFileSync(log, 'one\n\ntwo\nthree\n')
    expect(lastLines(log, 2, mark)).toEqual(['two', 'three'])
    expect(lastLines(log, 9, mark)).toEqual(['one', 'two', 'three'])
  })

  it('gives its last lines though it was emptied after the mark', () => {
    writeFileSync(log, 'short\n')
    expect(lastLines(log, 3, 1_000)).toEqual([])
  })
})
