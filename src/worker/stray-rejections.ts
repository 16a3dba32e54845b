import { describeFailure, reviveFailure } from '../protocol/failure.ts'

/**
 * Says in a thread that a promise was rejected which nobody waits for any more: that says nothing about the task that
 * runs now, which would be charged if it ended the thread. The reason may be anything, also what throws when it is read.
 */
export function reportStrayRejections(warn: (line: string) => void): void {
  process.on('unhandledRejection', reason => {
    const { stack, message } = reviveFailure(describeFailure(reason))
    warn(`a promise was rejected and nobody handled it: ${stack ?? message}`)
  })
}
