import { dirname } from 'node:path'
import { pathToFileURL } from 'node:url'

/**
 * A bundle is one module in a cache folder, but each source in it must go on seeing its own place. esbuild replaces
 * `import.meta`, `__dirname` and `__filename` by a variable (see `scopeDefines`) that each source which may use it
 * declares for itself; a source's own `const __dirname` is left alone, since esbuild only replaces what is not declared.
 */
export const scopeDefines: Readonly<Record<string, string>> = {
  'import.meta': '__millraceSource',
  __dirname: '__millraceSource.dirname',
  __filename: '__millraceSource.filename',
}

const mayUseScope = /\bmeta\b|\b__dirname\b|\b__filename\b/

/** The source with its place declared where it may ask for it; on its first line, so that the others keep their numbers. */
export function scopeSource(source: string, path: string): string {
  return mayUseScope.test(source) ? prepend(source, declareScope(path)) : source
}

/** The same without the place, which must not count in the hash. Declared everywhere: not even a comment's words may count. */
export function scopeAnonymously(source: string): string {
  return prepend(source, `const __millraceSource = { url: '', filename: '', dirname: '' }; `)
}

/** How many columns {@link scopeSource} put in front of line 1. */
export function scopeColumns(source: string, path: string): number {
  return mayUseScope.test(source) && !source.startsWith('#!') ? declareScope(path).length : 0
}

/**
 * Runs before everything else in a bundle. `require` serves the calls that esbuild leaves in place: those for packages,
 * whose paths are absolute, and computed ones, which see the folder of the task module.
 */
export function bundleBanner(file: string): string {
  return [
    `import { createRequire as __millraceRequireFrom, isBuiltin as __millraceIsBuiltin } from 'node:module'`,
    `import { pathToFileURL as __millraceFileURL } from 'node:url'`,
    `const require = __millraceRequireFrom(${JSON.stringify(pathToFileURL(file).href)})`,
    `const __millraceResolveFrom = url => specifier =>`,
    `  /^(?:\\.{0,2}\\/|[a-z][a-z\\d+.-]*:)/i.test(specifier) ? new URL(specifier, url).href`,
    `  : __millraceIsBuiltin(specifier) ? 'node:' + specifier`,
    `  : __millraceFileURL(__millraceRequireFrom(url).resolve(specifier)).href`,
  ].join('\n')
}

function declareScope(path: string): string {
  const url = JSON.stringify(pathToFileURL(path).href)
  const place = `filename: ${JSON.stringify(path)}, dirname: ${JSON.stringify(dirname(path))}`
  return `const __millraceSource = { url: ${url}, ${place}, resolve: __millraceResolveFrom(${url}) }; `
}

/** A hashbang must stay the first line of its file. */
function prepend(source: string, declaration: string): string {
  const text = source.startsWith('\uFEFF') ? source.slice(1) : source
  const lineEnd = text.startsWith('#!') ? text.indexOf('\n') + 1 : 0
  return text.slice(0, lineEnd) + declaration + text.slice(lineEnd)
}
