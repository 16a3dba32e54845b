/** Where `millrace` and `millrace/worker` are in a copy of this package. */
export interface PackageEntry {
  readonly '.': URL
  readonly './worker': URL
}

/** The entries of the copy that is running: built JavaScript, or TypeScript when it runs from source. */
export function runningPackage(): PackageEntry {
  const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
  return {
    '.': new URL(`../index${extension}`, import.meta.url),
    './worker': new URL(`../worker/index${extension}`, import.meta.url),
  }
}

/** The entry that `import 'millrace'` or `import 'millrace/worker'` means; undefined for any other specifier. */
export function entryFor(specifier: string, entry: PackageEntry): URL | undefined {
  if (specifier === 'millrace') return entry['.']
  return specifier === 'millrace/worker' ? entry['./worker'] : undefined
}
