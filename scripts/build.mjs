#!/usr/bin/env node
/** Builds dist/ unless it is up to date. The packages must be installed: see bootstrap.mjs. */
import { build, isBuilt } from './bootstrap/build.mjs'
import { lock } from './bootstrap/lock.mjs'
import { exitOnSignals, main, root } from './bootstrap/step.mjs'

await main(async () => {
  if (isBuilt(root)) return
  exitOnSignals()
  const unlock = await lock()
  try {
    if (!isBuilt(root)) await build(root)
  } finally {
    unlock()
  }
})
