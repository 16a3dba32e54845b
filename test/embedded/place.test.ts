import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { chooseRunFolder, controlSocketPath, describePlace, openRunFolder } from '../../src/embedded/place.ts'
import { projectDirectory } from '../../src/embedded/project-directory.ts'
import { EmbeddedRedisError } from '../../src/errors.ts'

const uid = process.getuid?.() ?? 0

describe('the run folder', () => {
  let root: string

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'mr-'))
  })

  afterEach(() => {
    rmSync(root, { recursive: true })
  })

  it('is made for this user alone, and accepted again', async () => {
    const folder = join(root, 'run')
    await openRunFolder(folder, uid)
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    await openRunFolder(folder, uid)
  })

  it('is refused if others may enter it', async () => {
    const folder = join(root, 'run')
    mkdirSync(folder)
    chmodSync(folder, 0o755)
    await expect(openRunFolder(folder, uid)).rejects.toBeInstanceOf(EmbeddedRedisError)
  })

  it('is refused if it is a link, even to a folder of ours', async () => {
    mkdirSync(join(root, 'target'), { mode: 0o700 })
    symlinkSync(join(root, 'target'), join(root, 'run'))
    await expect(openRunFolder(join(root, 'run'), uid)).rejects.toBeInstanceOf(EmbeddedRedisError)
  })

  it('is refused if another user made it', async () => {
    const folder = join(root, 'run')
    mkdirSync(folder, { mode: 0o700 })
    await expect(openRunFolder(folder, uid + 1)).rejects.toBeInstanceOf(EmbeddedRedisError)
  })

  it('is refused, with a cure, if it cannot be made', async () => {
    await expect(openRunFolder(join(root, 'missing', 'run'), uid)).rejects.toThrow(/TMPDIR/)
  })

  it('makes socket paths of less than 100 bytes, whatever TMPDIR is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 150 }), fc.nat(2 ** 32 - 2), (name, someUid) => {
        const place = describePlace('/project', chooseRunFolder(`/${name}`, someUid, '0123456789abcdef'))
        for (const path of [place.redisSocket, controlSocketPath(place.runFolder, place.hash, '01234567')]) {
          expect(Buffer.byteLength(path)).toBeLessThan(100)
        }
      }),
    )
  })

  it('is in TMPDIR where that is short enough', () => {
    expect(chooseRunFolder('/var/folders/ab/cdef/T/', 501, '0123456789abcdef')).toBe(
      '/var/folders/ab/cdef/T/millrace-501',
    )
  })
})

describe('a place', () => {
  it('has sockets of its own for each data folder', () => {
    expect(describePlace('/a', '/tmp/run').redisSocket).not.toBe(describePlace('/b', '/tmp/run').redisSocket)
  })
})

describe('projectDirectory', () => {
  it('is the nearest folder upwards with a package.json', () => {
    const here = import.meta.dirname
    expect(projectDirectory(join(here, 'support'))).toBe(join(here, '..', '..'))
  })

  it('is the folder itself where there is no package.json above', () => {
    const folder = mkdtempSync(join(tmpdir(), 'mr-'))
    expect(projectDirectory(folder)).toBe(folder)
    rmSync(folder, { recursive: true })
  })
})
