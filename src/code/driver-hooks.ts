/** Hooks of the ES module loader for a driver script; on Node's loader thread. Registered by `driver-preload.ts`. */
import { transform } from 'esbuild'
import { readFile } from 'node:fs/promises'
import type { InitializeHook, ResolveHook } from 'node:module'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isInstalled } from './packages.ts'

// Node calls these as functions of the module, once in its thread: there is no other place for what they share.
const fallbacks = new Map<string, string>()

/** Takes the address of each specifier of Millrace in the copy that is running. */
export const initialize: InitializeHook<Readonly<Record<string, string>>> = addresses => {
  for (const [specifier, address] of Object.entries(addresses)) fallbacks.set(specifier, address)
}

/** Finds Millrace where the script's folder has none, and tells ES modules that their package calls CommonJS. */
export const resolve: ResolveHook = async (specifier, context, next) => {
  try {
    const found = await next(specifier, context)
    return found.format === 'commonjs' && (await awaitsAtTopLevel(found.url)) ? { ...found, format: 'module' } : found
  } catch (error) {
    const address = fallbacks.get(specifier)
    if (address === undefined || !isNotFound(error)) throw error
    return next(address, context)
  }
}

/**
 * Whether the module can only be an ES module. Without this, `await` at the top of a script fails in a folder whose
 * package.json does not say `"type": "module"`, which is every new one.
 */
async function awaitsAtTopLevel(url: string): Promise<boolean> {
  if (!/^file:.*\.(?:ts|tsx|js|jsx)$/.test(url)) return false
  const path = fileURLToPath(url)
  if (isInstalled(path)) return false
  const source = await readFile(path, 'utf8')
  if (!/\bawait\b/.test(source)) return false
  const loader = extname(path).slice(1) as 'ts' | 'tsx' | 'js' | 'jsx'
  const compiles = async (format: 'cjs' | 'esm'): Promise<boolean> => {
    try {
      await transform(source, { loader, format, target: 'node20', logLevel: 'silent' })
      return true
    } catch {
      return false
    }
  }
  return !(await compiles('cjs')) && (await compiles('esm'))
}

function isNotFound(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND'
}
