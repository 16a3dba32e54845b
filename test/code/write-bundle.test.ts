import { chmod, mkdir, readFile, readdir, symlink, truncate, utimes, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import type { TaskBundle } from '../../src/code/bundle.ts'
import { defaultCodeFolder, openDefaultCodeFolder } from '../../src/code/cache-folder.ts'
import { writeBundle } from '../../src/code/write-bundle.ts'
import { TaskModuleError } from '../../src/errors.ts'
import { makeFolder } from './project.ts'

const bundle: TaskBundle = {
  file: '/project/tasks.ts',
  code: 'export const a = 1',
  hash: '0123456789abcdef',
  sourceMap: JSON.stringify({ version: 3, sources: ['file:///project/tasks.ts'], names: [], mappings: 'AAAA' }),
}

describe('writeBundle', () => {
  test('names the file by its content', async () => {
    const folder = await makeFolder()
    const first = await writeBundle(bundle, folder)
    expect((await writeBundle({ ...bundle }, folder)).href).toBe(first.href)
    expect((await writeBundle({ ...bundle, code: 'export const a = 2' }, folder)).href).not.toBe(first.href)
    expect((await import(/* @vite-ignore */ first.href)) as object).toMatchObject({ a: 1 })
  })

  test('lets many write the same bundle at once, and leaves nothing beside it', async () => {
    const folder = join(await makeFolder(), 'not', 'yet', 'made')
    const urls = await Promise.all(Array.from({ length: 30 }, () => writeBundle(bundle, folder)))
    expect(new Set(urls.map(url => url.href)).size).toBe(1)
    expect(await readdir(folder)).toEqual([basename(fileURLToPath(urls[0]!))])
  })

  test('repairs a file that lost its content', async () => {
    const folder = await makeFolder()
    const file = fileURLToPath(await writeBundle(bundle, folder))
    const whole = await readFile(file, 'utf8')
    await truncate(file, 5)
    await writeBundle(bundle, folder)
    expect(await readFile(file, 'utf8')).toBe(whole)
  })

  test('removes bundles that nobody asked for in a month, and nothing else', async () => {
    const folder = await makeFolder()
    const longAgo = new Date(Date.now() - 31 * 24 * 60 * 60 * 1000)
    const age = (file: string): Promise<void> => utimes(file, longAgo, longAgo)
    const forgotten = fileURLToPath(await writeBundle({ ...bundle, code: 'forgotten' }, folder))
    const wanted = fileURLToPath(await writeBundle({ ...bundle, code: 'wanted' }, folder))
    const foreign = join(folder, 'somebody-else.mjs')
    await writeFile(foreign, '')
    await Promise.all([forgotten, wanted, foreign].map(age))
    await writeBundle({ ...bundle, code: 'wanted' }, folder)
    const fresh = fileURLToPath(await writeBundle({ ...bundle, code: 'fresh' }, folder))
    expect((await readdir(folder)).sort()).toEqual([fresh, wanted, foreign].map(file => basename(file)).sort())
  })

  test('says what to do when the folder cannot be written', async () => {
    const file = join(await makeFolder(), 'file')
    await writeFile(file, '')
    await expect(writeBundle(bundle, join(file, 'folder'))).rejects.toThrow(
      /can't be written to .*: make the folder writable/,
    )
  })
})

describe('openDefaultCodeFolder', () => {
  test('stands in a folder of this user alone', async () => {
    const folder = join(await makeFolder(), 'millrace-1000', 'code')
    expect(await openDefaultCodeFolder(folder)).toBe(folder)
    expect(await openDefaultCodeFolder(folder)).toBe(folder)
    expect(defaultCodeFolder()).toMatch(/millrace-\d+\/code$/)
  })

  test.each<[string, (folder: string, inner: string) => Promise<void>]>([
    ['others can write', async (folder, inner) => mkdir(inner, { recursive: true }).then(() => chmod(folder, 0o777))],
    ['others can read', async (_, inner) => mkdir(inner, { recursive: true }).then(() => chmod(inner, 0o755))],
    [
      'is a link',
      async folder => {
        await mkdir(`${folder}-target`, { mode: 0o700 })
        await symlink(`${folder}-target`, folder)
      },
    ],
    ['is a file', async folder => writeFile(folder, '')],
  ])('refuses a folder that %s', async (_, prepare) => {
    const folder = join(await makeFolder(), 'millrace-1000')
    const inner = join(folder, 'code')
    await prepare(folder, inner)
    const failure: unknown = await openDefaultCodeFolder(inner).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(TaskModuleError)
    expect((failure as Error).message).toMatch(/is not a folder of this user alone .*: remove it, or set TMPDIR/)
  })
})
