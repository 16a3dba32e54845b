import { task } from 'millrace'
import { packFile, type Folders, type Packed } from './pack.js'

/** Mostly waits, for the disk and for zlib's own threads: so each thread of a worker has eight files under way. */
export const pack = task<string, Packed, Folders>(
  'pack',
  (path, { shared, signal }) => packFile(path, shared, signal),
  {
    concurrency: 8,
    retries: 2,
    timeoutMs: 60_000,
  },
)
