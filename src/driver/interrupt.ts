const ours: unique symbol = Symbol.for('millrace.interrupt')
const exitCode = 130
const closeWithinMs = 5000

/**
 * Ctrl-C: closes the connection, which cancels what nobody could attach to, and exits with 130; a second one exits at
 * once. Stays out of the way of a program that listens itself. Returns what undoes it.
 */
export function onInterrupt(close: () => Promise<void>): () => void {
  const listener = branded('open', () => {
    if (process.listeners('SIGINT').some(other => !(ours in other))) return
    process.off('SIGINT', listener)
    process.on('SIGINT', branded('closing', exit))
    setTimeout(exit, closeWithinMs).unref()
    // Of several connections the last one to close exits.
    const closed = () => {
      if (!isOpen()) exit()
    }
    close().then(closed, closed)
  })
  process.on('SIGINT', listener)
  return () => {
    process.off('SIGINT', listener)
  }
}

/** Whether there are other connections that have not been interrupted, or have not closed. */
function isOpen(): boolean {
  return process.listeners('SIGINT').some(other => ours in other && other[ours] === 'open')
}

function branded(state: 'open' | 'closing', listener: () => void): (() => void) & { [ours]: string } {
  return Object.assign(listener, { [ours]: state })
}

function exit(): never {
  process.exit(exitCode)
}
