import { range } from '../../driver/range.ts'
import type { Mill, Progress } from '../../driver/types.ts'
import { follow } from '../progress/follow.ts'
import { ProgressDisplay, type ProgressStream } from '../progress/progress-display.ts'
import { groupDigits } from '../words.ts'
import { groupFiles, type Collection } from './collection.ts'
import { knownPrimesBelow } from './known-primes.ts'
import { inOneThread, type PlainJob } from './one-thread.ts'
import { add, merge, primes, words } from './tasks.ts'
import { topWords, totalWords, type WordCounts } from './words.ts'

/** Three of the sieve's segments, so that no task ends within one: a millisecond or so. */
const PRIME_SPAN = 3 * 983_040
/** The texts of one task: about five milliseconds of counting. */
const GROUP_BYTES = 128 * 1024
const TOP_WORDS = 20

/** What came of one of the demo's jobs. */
export interface JobReport {
  readonly job: string
  readonly answer: number
  /** What the answer was held against: what is published, what one thread finds. */
  readonly check: string
  readonly correct: boolean
  readonly tasks: number
  readonly wallMs: number
  /** The same work in one thread without Millrace, measured in the same run. */
  readonly oneThreadMs: number
}

/** What came of counting words. */
export interface WordReport extends JobReport {
  readonly top: readonly (readonly [word: string, count: number])[]
}

/** Where the demo shows how far it is, and what stops it. */
export interface DemoSurroundings {
  readonly progress: ProgressStream
  readonly signal: AbortSignal
}

/** Counts the primes below a number: the count of each segment is a task, added up on the workers. */
export async function countPrimes(mill: Mill, below: number, surroundings: DemoSurroundings): Promise<JobReport> {
  const segments = range(0, below, PRIME_SPAN)
  const shared = { below, span: PRIME_SPAN }
  const job = mill.map(primes, segments, { shared, signal: surroundings.signal })
  const { result: count, wallMs } = await timed(job, 'primes', job.reduce(add, 0), surroundings)
  const plain = await alone({ kind: 'primes', ...shared }, segments.length, surroundings)
  const known = knownPrimesBelow(below)
  return {
    job: `primes below ${inShort(below)}`,
    answer: count,
    check: known === undefined ? 'one thread' : 'published, one thread',
    correct: count === plain.answer && count === (known ?? count),
    tasks: segments.length,
    wallMs,
    oneThreadMs: plain.wallMs,
  }
}

/** Counts the words of a collection: the counts of a group of files are a task, merged on the workers. */
export async function countWordsOf(
  mill: Mill,
  collection: Collection,
  surroundings: DemoSurroundings,
): Promise<WordReport> {
  const groups = groupFiles(collection.files, GROUP_BYTES)
  const job = mill.map(words, groups, { signal: surroundings.signal })
  const { result: counts, wallMs } = await timed(
    job,
    'words',
    job.reduce(merge, new Map<string, number>()),
    surroundings,
  )
  const plain = await alone({ kind: 'words', paths: groups.flat() }, collection.files.length, surroundings)
  const top = topWords(counts, TOP_WORDS)
  return {
    job: `words of ${groupDigits(collection.files.length)} files`,
    answer: totalWords(counts),
    check: 'one thread',
    correct: plain.answer instanceof Map && sameCounts(counts, plain.answer),
    tasks: groups.length,
    wallMs,
    oneThreadMs: plain.wallMs,
    top,
  }
}

async function timed<T>(
  job: { progress(): Promise<Progress> },
  label: string,
  work: Promise<T>,
  { progress }: DemoSurroundings,
): Promise<{ result: T; wallMs: number }> {
  const startMs = performance.now()
  const ended = work.then(result => ({ result, wallMs: performance.now() - startMs }))
  return follow(job, new ProgressDisplay(progress, label), ended)
}

async function alone(plainJob: PlainJob, total: number, { progress, signal }: DemoSurroundings) {
  const display = new ProgressDisplay(progress, `${plainJob.kind}, one thread`)
  const show = (done: number) => {
    display.update({ done, total, running: 1, failed: 0, waitingFor: undefined })
  }
  try {
    return await inOneThread(plainJob, show, signal)
  } finally {
    display.end()
  }
}

/** 10⁹ for a billion. */
function inShort(value: number): string {
  const exponent = Math.round(Math.log10(value))
  if (10 ** exponent !== value) return groupDigits(value)
  return `10${[...String(exponent)].map(digit => '⁰¹²³⁴⁵⁶⁷⁸⁹'.charAt(Number(digit))).join('')}`
}

/** Whether every word has the same count, and so the top twenty are the same too; these are compared as they are shown. */
function sameCounts(a: WordCounts, b: WordCounts): boolean {
  const sameTop = JSON.stringify(topWords(a, TOP_WORDS)) === JSON.stringify(topWords(b, TOP_WORDS))
  return sameTop && a.size === b.size && [...a].every(([word, count]) => b.get(word) === count)
}
