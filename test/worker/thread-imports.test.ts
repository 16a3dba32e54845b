import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { Metafile } from 'esbuild'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** What each thread of a worker loads: its own file, and the package for the task module, which imports it. */
const entries = ['src/worker/thread.ts', 'src/index.ts']

test('a thread loads neither the driver nor the compiler', async () => {
  const { metafile } = await build({
    entryPoints: entries,
    absWorkingDir: root,
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    outdir: 'unwritten',
    write: false,
    metafile: true,
  })
  const loaded = entries.flatMap(entry => loadedBy(entry, metafile))
  // They are in what the test looks at, only not at once.
  expect(Object.keys(metafile.inputs)).toEqual(expect.arrayContaining(['src/driver/link.ts', 'src/code/bundle.ts']))
  expect(loaded).toEqual(expect.arrayContaining(['src/worker/chunk-runner.ts', 'src/driver/connect.ts']))
  expect(loaded.filter(path => /^(?:esbuild|ioredis|src\/embedded\/.*|src\/driver\/link.ts)$/.test(path))).toEqual([])
})

/** The files and packages that are loaded before the first line of a file runs, as far as `import` does it. */
function loadedBy(entry: string, { inputs }: Metafile): string[] {
  const loaded = new Set([entry])
  for (const path of loaded) {
    for (const { path: next, kind } of inputs[path]?.imports ?? []) {
      if (kind === 'import-statement') loaded.add(next)
    }
  }
  return [...loaded]
}
