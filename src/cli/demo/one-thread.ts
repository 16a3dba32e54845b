import { Worker } from 'node:worker_threads'
import type { WordCounts } from './words.ts'

/** What a job of the demo works on. */
export type PlainJob =
  | { readonly kind: 'primes'; readonly below: number; readonly span: number }
  | { readonly kind: 'words'; readonly paths: readonly string[] }

/** What the thread says: how far it is, and in the end what came out and how long it was at it. */
export type FromThread = { readonly done: number } | PlainOutcome

export interface PlainOutcome {
  readonly answer: number | WordCounts
  readonly wallMs: number
}

/** Does a job in one thread without Millrace, by the same functions that the tasks use. The time is measured in that thread. */
export function inOneThread(job: PlainJob, onDone: (done: number) => void, signal: AbortSignal): Promise<PlainOutcome> {
  const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
  return new Promise((resolve, reject) => {
    const thread = new Worker(new URL(`./one-thread-main${extension}`, import.meta.url), { workerData: job })
    const stop = () => {
      thread.terminate().catch(reject)
    }
    signal.addEventListener('abort', stop, { once: true })
    thread.on('message', (message: FromThread) => {
      if ('answer' in message) resolve(message)
      else onDone(message.done)
    })
    thread.once('error', reject)
    thread.once('exit', () => {
      signal.removeEventListener('abort', stop)
      reject(new Error('the thread ended without an answer'))
    })
  })
}
