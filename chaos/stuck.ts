import { historyBytes } from './history.ts'

/** A run may be slow, but not for ever: it may take so many times as long as it may be idle. */
const mostTimes = 8

/** Notices that a run does not get on: nothing is written down any more, or there is no end to it. */
export class Stuck {
  /** Resolves, with what is the matter, when it is stuck. */
  readonly since: Promise<string>
  #timer: NodeJS.Timeout | undefined

  constructor(folder: string, idleMs: number) {
    const begun = performance.now()
    let bytes = historyBytes(folder)
    let changedAt = begun
    this.since = new Promise(resolve => {
      this.#timer = setInterval(
        () => {
          const now = performance.now()
          const bytesNow = historyBytes(folder)
          if (bytesNow !== bytes) changedAt = now
          bytes = bytesNow
          if (now - changedAt > idleMs) resolve(`when all was healed and nothing had happened for ${idleMs / 1000} s`)
          if (now - begun > mostTimes * idleMs) resolve(`${(mostTimes * idleMs) / 1000} s after all was healed`)
        },
        Math.min(500, idleMs / 4),
      )
    })
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}
