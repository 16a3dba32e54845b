import { setTimeout as delay } from 'node:timers/promises'
import type { Progress } from '../../driver/types.ts'
import type { ProgressDisplay } from './progress-display.ts'

/** Shows a job's progress until `work`, which consumes the job, has ended. */
export async function follow<T>(
  job: { progress(): Promise<Progress> },
  display: ProgressDisplay,
  work: Promise<T>,
): Promise<T> {
  const ended = new AbortController()
  const watching = watch(job, display, ended.signal)
  try {
    return await work
  } finally {
    ended.abort()
    display.end()
    await watching
  }
}

async function watch(
  job: { progress(): Promise<Progress> },
  display: ProgressDisplay,
  ended: AbortSignal,
): Promise<void> {
  while (!ended.aborted) {
    try {
      const progress = await job.progress()
      if (isEnded(ended)) return
      display.update({ ...progress, done: progress.done + progress.failed })
      await delay(display.readEveryMs, undefined, { signal: ended })
    } catch {
      // The bar may miss a reading; what went wrong with the job is for whoever consumes it to say.
      if (!isEnded(ended)) await delay(display.readEveryMs)
    }
  }
}

/** A call, so that the compiler does not take the answer from before an `await` for the one after it. */
function isEnded(signal: AbortSignal): boolean {
  return signal.aborted
}
