import { readdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { connect } from 'millrace'
import { pack } from './tasks.js'

const [from = 'node_modules/typescript/lib', to = 'packed'] = process.argv.slice(2)
const folders = { from: resolve(from), to: resolve(to) }

/** Inputs may come from any iterable: these are found while the first of them are being packed. */
async function* filesBelow(folder: string): AsyncGenerator<string> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory() && path !== folders.to) yield* filesBelow(path)
    if (entry.isFile()) yield path
  }
}

await using mill = await connect({ tasks: new URL('./tasks.ts', import.meta.url) })
let files = 0
let bytes = 0
let packedBytes = 0
for await (const packed of mill.map(pack, filesBelow(folders.from), { shared: folders })) {
  files++
  bytes += packed.bytes
  packedBytes += packed.packedBytes
}
console.log(
  `${files} files, ${(bytes / 1e6).toFixed(1)} MB → ${(packedBytes / 1e6).toFixed(1)} MB in ${folders.to}, each read back and verified`,
)
