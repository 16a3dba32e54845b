/**
 * Ends this process whatever its threads run: `process.exit` waits for native code. It is what is left where the signal
 * does nothing, since the first process of a container can't end itself by one.
 */
export function endProcess(signal: NodeJS.Signals, exitCode: number): never {
  process.removeAllListeners(signal)
  process.kill(process.pid, signal)
  process.exit(exitCode)
}
