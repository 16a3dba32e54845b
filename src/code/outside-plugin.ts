import type { OnResolveArgs, OnResolveResult, Plugin, PluginBuild } from 'esbuild'
import { isBuiltin } from 'node:module'
import { basename, dirname, extname, relative, sep } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { entryFor } from './package-entry.ts'
import type { PackageEntry } from './package-entry.ts'
import { isInstalled } from './packages.ts'
import type { Packages } from './packages.ts'

/** How a module that stays outside the bundle is written in it. */
export type NameOutside = (path: string, use: 'import' | 'require') => string | Promise<string>

/** By absolute address: the bundle is run from a folder where no bare specifier resolves. */
export const nameByAddress: NameOutside = (path, use) => (use === 'import' ? pathToFileURL(path).href : path)

/**
 * By name and version, the same on every machine. Millrace's own version does not count: another one does not change
 * what a task answers, and a fleet must be able to upgrade machine by machine.
 */
export function nameByIdentity(packages: Packages, entry: PackageEntry): NameOutside {
  const main = fileURLToPath(entry['.'])
  const worker = fileURLToPath(entry['./worker'])
  return async path => {
    if (path === main) return 'millrace'
    if (path === worker) return 'millrace/worker'
    if (isInside(path, dirname(main))) {
      const inner = relative(dirname(main), path).replaceAll(sep, '/')
      return `${await packages.owner(dirname(main))}/${inner.slice(0, inner.length - extname(inner).length)}`
    }
    return isInstalled(path) ? packages.identify(path) : `file/${basename(path)}`
  }
}

const commonJSNamespace = 'outside-commonjs'
const passedOn = Symbol('passed on')

/**
 * Keeps installed packages, native addons and Millrace itself out of the bundle, resolved as their importer would.
 * An import of a CommonJS package goes through `require`, so that its names need not be guessed from its text.
 */
export function outsidePlugin(entry: PackageEntry, packages: Packages, nameOutside: NameOutside): Plugin {
  const ownFolder = dirname(fileURLToPath(entry['.']))

  const staysOutside = (path: string, args: OnResolveArgs): boolean => {
    if (args.kind === 'require-resolve' || path.endsWith('.node')) return true
    // Node wants an import attribute for JSON, bundled code does not.
    return (isInstalled(path) || isInside(path, ownFolder)) && !path.endsWith('.json')
  }

  const leaveOutside = async (path: string, args: OnResolveArgs): Promise<OnResolveResult> => {
    const use = args.kind === 'require-call' || args.kind === 'require-resolve' ? 'require' : 'import'
    const viaRequire = use === 'import' && !isInside(path, ownFolder) && (await packages.isCommonJS(path))
    if (viaRequire) return { path, namespace: commonJSNamespace }
    return { path: await nameOutside(path, use), external: true }
  }

  const onResolve = async (build: PluginBuild, args: OnResolveArgs): Promise<OnResolveResult | undefined> => {
    if (args.kind === 'entry-point' || args.pluginData === passedOn || isBuiltin(args.path)) return undefined
    const own = entryFor(args.path, entry)
    if (own !== undefined) return leaveOutside(fileURLToPath(own), args)
    const { path, kind, importer, namespace, resolveDir, with: attributes } = args
    const found = await build.resolve(path, {
      kind,
      importer,
      namespace,
      resolveDir,
      with: attributes,
      pluginData: passedOn,
    })
    // What can't be resolved fails again in esbuild itself, which knows how to say it and when it may be ignored.
    if (found.errors.length > 0 || found.external || found.namespace !== 'file') return undefined
    return staysOutside(found.path, args) ? leaveOutside(found.path, args) : undefined
  }

  return {
    name: 'millrace-outside',
    setup(build) {
      build.onResolve({ filter: /.*/, namespace: 'file' }, args => onResolve(build, args))
      build.onResolve({ filter: /.*/, namespace: commonJSNamespace }, async args => ({
        path: await nameOutside(args.importer, 'require'),
        external: true,
      }))
      // The same text for every package: esbuild picks the names for the hash by the letters that it reads.
      build.onLoad({ filter: /.*/, namespace: commonJSNamespace }, () => ({
        contents: `module.exports = require('itself')`,
        loader: 'js',
      }))
    },
  }
}

function isInside(path: string, folder: string): boolean {
  return path.startsWith(folder + sep)
}
