/**
 * Runs in a driver script's process before the script does (see `run-script.ts`), with the TypeScript loader in place.
 *
 * Modules are loaded in two ways here. ES modules go through `driver-hooks.ts`, which finds Millrace where the script's
 * folder has none. Whatever a package does not declare to be ESM, the TypeScript loader runs as CommonJS, and it would
 * compile Millrace to CommonJS for it: a second copy, whose errors are not `instanceof` the first one's classes. So
 * `require('millrace')` is given the ES module.
 */
import Module, { createRequire, register } from 'node:module'
import { pathToFileURL } from 'node:url'
import { entryFor, runningPackage } from './package-entry.ts'
import { isMillraceError, tellUncaught } from './uncaught.ts'

type Load = (this: unknown, request: string, ...rest: unknown[]) => unknown

const entry = runningPackage()
const hooks = new URL(`./driver-hooks${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url)
register(hooks, { data: { millrace: entry['.'].href, 'millrace/worker': entry['./worker'].href } })

const modules = new Map<string, unknown>()
for (const specifier of ['millrace', 'millrace/worker']) {
  const address = findFor(process.argv[1], specifier)
  if (address !== undefined) modules.set(specifier, await import(address))
}

const loader = Module as unknown as { _load: Load }
const load = loader._load
loader._load = function (request, ...rest) {
  return modules.get(request) ?? load.call(this, request, ...rest)
}

// Node shows an uncaught error with the line of ours that threw it. The script's own lines say more.
process.on('uncaughtExceptionMonitor', error => {
  const handled = process.listenerCount('uncaughtException') > 0
  if (handled || process.env['MILLRACE_DEBUG'] === '1' || !isMillraceError(error, modules.get('millrace'))) return
  tellUncaught(error)
  process.exit(1)
})

/** Where the script finds the module, else where the running copy has it. */
function findFor(script: string | undefined, specifier: string): string | undefined {
  try {
    return pathToFileURL(createRequire(script ?? import.meta.url).resolve(specifier)).href
  } catch {
    return entryFor(specifier, entry)?.href
  }
}
