import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { userFrames } from '../../src/code/own-frames.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

test('of a stack only the lines of the user and of other packages are left', () => {
  const stack = [
    'RangeError: two',
    'at the second line of the message',
    '    at deeper (/home/me/dist/tasks.ts:2:49)',
    `    at #execute (file://${root}dist/worker/chunk-runner.js:187:31)`,
    `    at TaskThread.run (${root}src/worker/task-thread.ts:48:17)`,
    `    at score (${root}examples/options/pricing.ts:1:1)`,
    '    at process.processTicksAndRejections (node:internal/process/task_queues:95:5)',
    '    at readFile (node:fs:1:1)',
    '    at lodash (/home/me/node_modules/lodash/index.js:1:1)',
  ]
  expect(userFrames(stack.join('\n')).split('\n')).toEqual([0, 1, 2, 5, 7, 8].map(line => stack[line]))
})
