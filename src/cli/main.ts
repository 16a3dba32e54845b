#!/usr/bin/env node
import { runCommandLine } from './command-line.ts'
import { exitCodes } from './exit-codes.ts'

// Whoever reads our output may have seen enough: `millrace jobs | head -3`.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => process.exit(exitCodes.failed))

const exitCode = await runCommandLine(process.argv.slice(2))
await Promise.all([flushed(process.stdout), flushed(process.stderr)])
// A connection that was given up would hold the process for two more seconds.
process.exit(exitCode)

function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise(resolve => {
    stream.write('', () => {
      resolve()
    })
  })
}
