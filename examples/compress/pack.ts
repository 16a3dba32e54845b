import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'

const compress = promisify(gzip)
const expand = promisify(gunzip)

/** Where files come from, and where their compressed copies go. */
export interface Folders {
  readonly from: string
  readonly to: string
}

/** What was done with one file. */
export interface Packed {
  readonly path: string
  readonly bytes: number
  readonly packedBytes: number
  /** SHA-256 of the original. */
  readonly digest: string
}

/** Compresses one file, reads the copy back and makes sure that it gives the original. */
export async function packFile(path: string, { from, to }: Folders, signal?: AbortSignal): Promise<Packed> {
  const original = await readFile(path, { signal })
  const packed = await compress(original, { level: 9 })
  const target = join(to, `${relative(from, path)}.gz`)
  await mkdir(dirname(target), { recursive: true })
  // A task may run twice, when the worker that had it dies. Only a rename leaves no half-written file in its place.
  const draft = `${target}.${process.pid}.${Math.random().toString(36).slice(2)}`
  await writeFile(draft, packed, { signal })
  await rename(draft, target)
  const restored = await expand(await readFile(target, { signal }))
  const digest = sha256(original)
  if (sha256(restored) !== digest) throw new Error(`${target} does not give ${path} back`)
  return { path, bytes: original.length, packedBytes: packed.length, digest }
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
