import type { ChunkFlags } from '../protocol/chunk.ts'
import type { PartFields } from '../protocol/records.ts'
import { randomName } from '../protocol/names.ts'

/** The windowed driver's lease on its jobs: a driver that is silent for so long is taken for dead, and its jobs park. */
export const driverLeaseMs = 15_000

/** So many incarnations of a job are remembered. */
const mostFormers = 64

/** Who a job's part is, as every operation on it names it. A part that Redis lost comes back as another incarnation. */
export class Part {
  readonly job: string
  readonly collector: string
  /** The job's encoded shared value. */
  readonly shared: Buffer | undefined
  fields: PartFields
  incarnation: string
  /** The incarnations before this one, the newest last: Redis may come back with one of them. */
  formers: readonly string[] = []
  /** How many drivers had attached to the job when this one was the last. */
  attaches: number

  constructor(
    job: string,
    collector: string,
    fields: PartFields,
    rest: { readonly shared?: Buffer | undefined; readonly incarnation?: string; readonly attaches?: number } = {},
  ) {
    this.job = job
    this.collector = collector
    this.fields = fields
    this.shared = rest.shared
    this.incarnation = rest.incarnation ?? randomName()
    this.attaches = rest.attaches ?? 0
  }

  /** The code hash that decides which threads can run it. */
  get hash(): string {
    return this.fields.hash
  }

  /** What a runner has to fetch before it runs a chunk of this part. */
  get flags(): ChunkFlags {
    const { shared, reducer } = this.fields
    if (shared) return reducer === '' ? 'shared' : 'both'
    return reducer === '' ? 'plain' : 'reduce'
  }

  renew(): void {
    this.formers = [...this.formers, this.incarnation].slice(-mostFormers)
    this.incarnation = randomName()
  }
}
