import { readFile } from 'node:fs/promises'
import { basename, dirname, extname, join } from 'node:path'

interface Manifest {
  readonly name?: unknown
  readonly version?: unknown
  readonly type?: unknown
}

/** Greedy on purpose: the last `node_modules` of the path is the one that holds the package. */
const inPackage = /^(.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+)(?:[\\/](.*))?$/

/** Whether a real path belongs to an installed package. The link of a workspace leads out of `node_modules`: that is the project's own code. */
export function isInstalled(path: string): boolean {
  return inPackage.test(path)
}

/** What `package.json` files say about the modules of installed packages. Each file is read once. */
export class Packages {
  readonly #manifests = new Map<string, Promise<Manifest | undefined>>()

  /** Names an installed file alike on every machine: `lodash@4.17.21/chunk.js`. */
  async identify(path: string): Promise<string> {
    const [, root = dirname(path), rest = basename(path)] = inPackage.exec(path) ?? []
    return `${await this.#nameAndVersion(root)}/${rest.replaceAll('\\', '/')}`
  }

  /** The name and version of the package that a folder is in. */
  async owner(folder: string): Promise<string> {
    const found = await this.#nearest(folder, manifest => typeof manifest.name === 'string')
    return found === undefined ? 'unnamed' : this.#nameAndVersion(found.folder)
  }

  /** Whether Node runs the module as CommonJS. Where nothing says so, Node looks whether it has syntax of ESM. */
  async isCommonJS(path: string): Promise<boolean> {
    const extension = extname(path)
    if (extension === '.mjs') return false
    if (extension === '.cjs' || extension === '.node') return true
    const nearest = await this.#nearest(dirname(path), () => true)
    if (nearest?.manifest.type === 'module') return false
    return nearest?.manifest.type === 'commonjs' || !/^\s*(?:import|export)\b/m.test(await readFile(path, 'utf8'))
  }

  async #nameAndVersion(root: string): Promise<string> {
    const { name = basename(root), version = 'unversioned' } = (await this.#manifest(root)) ?? {}
    return `${String(name)}@${String(version)}`
  }

  async #nearest(
    folder: string,
    wanted: (manifest: Manifest) => boolean,
  ): Promise<{ folder: string; manifest: Manifest } | undefined> {
    const manifest = await this.#manifest(folder)
    if (manifest !== undefined && wanted(manifest)) return { folder, manifest }
    const parent = dirname(folder)
    return parent === folder || basename(folder) === 'node_modules' ? undefined : this.#nearest(parent, wanted)
  }

  #manifest(folder: string): Promise<Manifest | undefined> {
    let manifest = this.#manifests.get(folder)
    if (manifest === undefined) {
      manifest = readManifest(join(folder, 'package.json'))
      this.#manifests.set(folder, manifest)
    }
    return manifest
  }
}

/** A manifest that is missing or broken says nothing; what fails for it fails where the package is loaded. */
async function readManifest(file: string): Promise<Manifest | undefined> {
  try {
    const manifest: unknown = JSON.parse(await readFile(file, 'utf8'))
    return typeof manifest === 'object' && manifest !== null ? manifest : undefined
  } catch {
    return undefined
  }
}
