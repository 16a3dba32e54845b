/** How often each word occurs. */
export type WordCounts = Map<string, number>

/** Letters of any script, with apostrophes and hyphens only between letters: “don't” and “co-operate” are one word each. */
const WORD = /\p{L}+(?:['’-]\p{L}+)*/gu

/** Counts the words of a text into `counts`, without regard to case. */
export function countWords(text: string, counts: WordCounts = new Map()): WordCounts {
  for (const word of text.toLowerCase().match(WORD) ?? []) counts.set(word, (counts.get(word) ?? 0) + 1)
  return counts
}

/** Adds up two counts. The smaller one is poured into the larger one, which is what is returned. */
export function mergeCounts(a: WordCounts, b: WordCounts): WordCounts {
  const [into, from] = a.size < b.size ? [b, a] : [a, b]
  for (const [word, count] of from) into.set(word, (into.get(word) ?? 0) + count)
  return into
}

/** The most frequent words, those of equal frequency in the order of their code units. */
export function topWords(counts: WordCounts, most: number): [word: string, count: number][] {
  return [...counts].sort(([a, countA], [b, countB]) => countB - countA || (a < b ? -1 : 1)).slice(0, most)
}

/** How many words were counted, repetitions included. */
export function totalWords(counts: WordCounts): number {
  let total = 0
  for (const count of counts.values()) total += count
  return total
}
