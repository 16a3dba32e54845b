#!/usr/bin/env node
import { runCommandLine } from './command-line.ts'

// Not process.exit: what is still on its way to a pipe must get there.
process.exitCode = await runCommandLine(process.argv.slice(2))
