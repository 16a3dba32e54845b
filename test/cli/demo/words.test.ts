import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { folderCollection, groupFiles, packagesCollection } from '../../../src/cli/demo/collection.ts'
import { countFiles } from '../../../src/cli/demo/count-files.ts'
import { countWords, mergeCounts, topWords, totalWords } from '../../../src/cli/demo/words.ts'
import { UsageError } from '../../../src/errors.ts'

describe('countWords', () => {
  test.each<[what: string, text: string, counts: Record<string, number>]>([
    ['nothing in an empty text', '', {}],
    ['nothing where there are no letters', '12 + 34 = 46 — …', {}],
    ['words without regard to case', 'The mill, the MILL', { the: 2, mill: 2 }],
    [
      'apostrophes and hyphens inside of words only',
      "don't ’tis co-operate- 'quoted'",
      { "don't": 1, tis: 1, 'co-operate': 1, quoted: 1 },
    ],
    ['letters of every script', 'Mühle мельница 水車 Mühle', { mühle: 2, мельница: 1, 水車: 1 }],
    [
      'words that are names of object members',
      'constructor __proto__ toString',
      { constructor: 1, proto: 1, tostring: 1 },
    ],
  ])('counts %s', (_what, text, counts) => {
    expect(Object.fromEntries(countWords(text))).toEqual(counts)
  })

  test('merging the counts of parts gives the count of the whole', () => {
    const parts = ['a b b', 'b c', '', 'a']
    const merged = parts.map(part => countWords(part)).reduce((a, b) => mergeCounts(a, b))
    expect(merged).toEqual(countWords(parts.join(' ')))
    expect(totalWords(merged)).toBe(6)
  })

  test('the top is ordered by count, then by word', () => {
    expect(topWords(countWords('c b a b c d'), 3)).toEqual([
      ['b', 2],
      ['c', 2],
      ['a', 1],
    ])
  })
})

describe('groupFiles', () => {
  test('fills groups up to their size, in order, and gives a large file one of its own', () => {
    const files = [40, 50, 20, 500, 10].map((bytes, index) => ({ path: `f${index}`, bytes }))
    expect(groupFiles(files, 100)).toEqual([['f0', 'f1'], ['f2'], ['f3'], ['f4']])
    expect(groupFiles([], 100)).toEqual([])
  })
})

describe('a collection', () => {
  let folder: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'millrace-words-'))
    await mkdir(join(folder, 'node_modules/pkg/types'), { recursive: true })
    await mkdir(join(folder, 'empty'))
    await writeFile(join(folder, 'node_modules/pkg/README.md'), 'one two')
    await writeFile(join(folder, 'node_modules/pkg/LICENSE'), 'two')
    await writeFile(join(folder, 'node_modules/pkg/index.js'), 'not a text of the package')
    await writeFile(join(folder, 'node_modules/pkg/types/index.d.ts'), 'three')
    await writeFile(join(folder, 'node_modules/pkg/picture.png'), 'binary')
    await symlink(join(folder, 'node_modules/pkg'), join(folder, 'node_modules/again'))
  })

  afterAll(async () => {
    await rm(folder, { recursive: true })
  })

  test('of packages holds READMEs, licences and declarations, each once', async () => {
    const { files, bytes } = await packagesCollection(folder)
    expect(files.map(file => file.path.slice(folder.length))).toEqual([
      '/node_modules/pkg/LICENSE',
      '/node_modules/pkg/README.md',
      '/node_modules/pkg/types/index.d.ts',
    ])
    expect(bytes).toBe(15)
    const counts = await countFiles(files.map(file => file.path))
    expect(Object.fromEntries(counts)).toEqual({ one: 1, two: 2, three: 1 })
  })

  test('of a folder holds its texts, not its pictures', async () => {
    const { files } = await folderCollection(folder)
    expect(files).toHaveLength(4)
  })

  test('of a folder that is missing or without texts is refused', async () => {
    await expect(folderCollection(join(folder, 'missing'))).rejects.toThrow(UsageError)
    await expect(folderCollection(join(folder, 'empty'))).rejects.toThrow(/no text files/)
  })

  test('of which a file vanished fails the count rather than leaving its words out', async () => {
    await expect(countFiles([join(folder, 'node_modules/pkg/LICENSE'), join(folder, 'gone')])).rejects.toThrow(/ENOENT/)
  })
})
