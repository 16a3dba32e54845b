import { build } from 'esbuild'
import { createRequire } from 'node:module'
import { basename, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/**
 * Compiles a script of the harness into a folder, with what it imports; the product's own packages stay outside, imported
 * by the addresses that they have here. Resolves with the path. For scripts that are started over and over: a loader
 * that compiles at each start would take the processor from the work that the dead are to be replaced for.
 */
export async function compile(script: URL, folder: string): Promise<string> {
  const source = fileURLToPath(script)
  const outfile = join(folder, basename(source).replace(/\.ts$/, '.mjs'))
  const resolve = createRequire(import.meta.url).resolve
  await build({
    entryPoints: [source],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    plugins: [
      {
        name: 'millrace-outside',
        setup: builder => {
          builder.onResolve({ filter: /^millrace(?:\/|$)/ }, ({ path }) => ({
            path: pathToFileURL(resolve(path)).href,
            external: true,
          }))
        },
      },
    ],
  })
  return outfile
}
