import { parentPort, workerData } from 'node:worker_threads'
import { countFiles } from './count-files.ts'
import type { FromThread, PlainJob } from './one-thread.ts'
import { PrimeSieve } from './sieve.ts'
import type { WordCounts } from './words.ts'

const TELL_EVERY_MS = 100

const startMs = performance.now()
let toldMs = startMs
const answer = await work(workerData as PlainJob, done => {
  if (performance.now() - toldMs < TELL_EVERY_MS) return
  toldMs = performance.now()
  tell({ done })
})
tell({ answer, wallMs: performance.now() - startMs })

async function work(job: PlainJob, onDone: (done: number) => void): Promise<number | WordCounts> {
  if (job.kind === 'words') return countFiles(job.paths, onDone)
  const sieve = new PrimeSieve(job.below)
  let count = 0
  for (let from = 0; from < job.below; from += job.span) {
    count += sieve.count(from, Math.min(from + job.span, job.below))
    onDone(from / job.span + 1)
  }
  return count
}

function tell(message: FromThread): void {
  parentPort?.postMessage(message)
}
