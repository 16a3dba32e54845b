import { build } from 'esbuild'
import { rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/**
 * Compiles a file for a bare thread, which on Node 20 takes no TypeScript loader. The output stands where the peers'
 * packages are found, and is made anew each time.
 */
export async function compileForThreads(source: URL): Promise<URL> {
  const name = source.pathname.split('/').at(-1)?.replace(/\.ts$/, '.mjs') ?? 'thread.mjs'
  const out = new URL(`../node_modules/.compiled/${process.pid}-${name}`, import.meta.url)
  await build({
    entryPoints: [fileURLToPath(source)],
    outfile: fileURLToPath(out),
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    logLevel: 'warning',
  })
  process.once('exit', () => {
    rmSync(out, { force: true })
  })
  return out
}
