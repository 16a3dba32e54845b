import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    // Most tests wait for other processes, so a few more files than the two cores of a small machine keep it busy.
    maxWorkers: 3,
    // A hang ends the run; how slow the machine is does not.
    testTimeout: 240_000,
    hookTimeout: 240_000,
  },
})
