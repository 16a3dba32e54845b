import { openSync, readdirSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { Event, Happening } from './events.ts'

/** Appends events to a file of its own. A line is one write, so only a process that is killed leaves half of one. */
export class History {
  readonly #file: number
  readonly #by: string

  constructor(folder: string, by: string) {
    this.#by = by
    this.#file = openSync(join(folder, `${by.replaceAll('/', '-')}.jsonl`), 'a')
  }

  write(happening: Happening): void {
    writeSync(this.#file, `${JSON.stringify({ at: Date.now(), by: this.#by, ...happening })}\n`)
  }
}

/** All events of a run, in the order of their time; those of one process in the order that it wrote them. */
export function readHistories(folder: string): Event[] {
  const files = readdirSync(folder).filter(name => name.endsWith('.jsonl'))
  return files.flatMap(name => readEvents(readFileSync(join(folder, name), 'utf8'), name)).sort((a, b) => a.at - b.at)
}

/**
 * The events of one file. Its last line may be torn, and is ignored then.
 * @throws for a line in the middle that is no event: the history itself can't be trusted.
 */
export function readEvents(text: string, name: string): Event[] {
  const lines = text.split('\n')
  const torn = lines.pop()
  const events = lines.map((line, number) => {
    try {
      return JSON.parse(line) as Event
    } catch (error) {
      throw new Error(`line ${number + 1} of the history ${name} is no event`, { cause: error })
    }
  })
  // A whole line without its line feed can't be told from a torn one that happens to be JSON: it was not finished.
  return torn === undefined ? [] : events
}
