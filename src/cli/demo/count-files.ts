import { readFile } from 'node:fs/promises'
import { countWords, type WordCounts } from './words.ts'

/** Counts the words of some files; the next one is read while the words of one are counted. */
export async function countFiles(paths: readonly string[], onFile?: (done: number) => void): Promise<WordCounts> {
  const counts: WordCounts = new Map()
  let next = read(paths[0])
  for (let index = 0; index < paths.length; index++) {
    const text = await next
    next = read(paths[index + 1])
    countWords(text, counts)
    onFile?.(index + 1)
  }
  return counts
}

function read(path: string | undefined): Promise<string> {
  return path === undefined ? Promise.resolve('') : readFile(path, 'utf8')
}
