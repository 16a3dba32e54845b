import { exitCodeOf } from '../code/run-script.ts'
import { endProcess } from '../runtime/end-process.ts'

const signals = ['SIGINT', 'SIGTERM'] as const

/**
 * Runs work that ends early once its signal is aborted: by the first SIGINT or SIGTERM. A second one ends the process
 * at once, whatever its threads run. Resolves with the exit code that the work gave; work that rejects because it was stopped has the signal's.
 */
export async function stoppable(work: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const controller = new AbortController()
  let received: NodeJS.Signals | undefined
  const onSignal = (signal: NodeJS.Signals) => {
    if (received !== undefined) endProcess(signal, exitCodeOf(signal))
    received = signal
    controller.abort()
  }
  for (const signal of signals) process.on(signal, onSignal)
  try {
    return await work(controller.signal)
  } catch (error) {
    if (received === undefined) throw error
    return exitCodeOf(received)
  } finally {
    for (const signal of signals) process.off(signal, onSignal)
  }
}
