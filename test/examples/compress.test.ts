import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { packFile } from '../../examples/compress/pack.ts'

test('a packed file gives its original back, and leaves no draft beside it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-pack-'))
  try {
    const text = 'to be or not to be\n'.repeat(1000)
    await writeFile(join(folder, 'hamlet.txt'), text)
    const packed = await packFile(join(folder, 'hamlet.txt'), { from: folder, to: join(folder, 'out') })
    expect(packed).toMatchObject({ bytes: text.length })
    expect(packed.packedBytes).toBeLessThan(text.length / 10)
    expect(await readdir(join(folder, 'out'))).toEqual(['hamlet.txt.gz'])
    expect(gunzipSync(await readFile(join(folder, 'out/hamlet.txt.gz'))).toString()).toBe(text)
  } finally {
    await rm(folder, { recursive: true })
  }
})
