import { UsageError } from '../errors.ts'
import { decodeBatch, decodeValue, encodeValue } from '../protocol/values.ts'
import { MalformedDataError } from '../errors.ts'
import type { TaskError } from '../errors.ts'
import type { ReadPiece } from './delivery.ts'
import type { DrivenJob } from './driven-job.ts'
import { taskError } from './errors-from-wire.ts'
import type { SubmittedAt } from './errors-from-wire.ts'
import type { Settled } from './types.ts'

/** The results of a piece, in order. @throws {MalformedDataError} when they are not as many as it says. */
export function valuesOf(piece: ReadPiece): unknown[] {
  // What came in a message is kept with the run; what is read from the Hash is read for this piece.
  const givenAway = piece.run.bytes === undefined && piece.count === piece.run.count
  const values = decodeBatch(piece.bytes, { givenAway })
  if (values.length !== piece.run.count)
    throw new MalformedDataError(`The results from index ${piece.run.first} on are not as many as they should be.`)
  const skip = piece.first - piece.run.first
  return skip === 0 && piece.count === values.length ? values : values.slice(skip, skip + piece.count)
}

/** The error of a piece that is a failure. */
export function errorOf(job: DrivenJob, piece: ReadPiece, submittedAt: SubmittedAt): TaskError {
  return taskError(piece.bytes, { task: job.part.fields.task, jobId: job.id, index: piece.first, submittedAt })
}

/** All results in input order. The first failure by index ends the job. */
export async function gatherResults(job: DrivenJob, submittedAt: SubmittedAt): Promise<unknown[]> {
  job.delivery.begin({ stream: false, ordered: true })
  return ending(job, async () => {
    const results: unknown[] = []
    for (let piece = await job.delivery.next(); piece !== undefined; piece = await job.delivery.next()) {
      if (piece.run.kind === 'failure') throw errorOf(job, piece, submittedAt)
      for (const value of valuesOf(piece)) results.push(value)
      job.delivery.used(piece, true)
    }
    return results
  })
}

/** All outcomes in input order. */
export async function gatherSettled(job: DrivenJob, submittedAt: SubmittedAt): Promise<Settled<unknown>[]> {
  job.delivery.begin({ stream: false, ordered: true })
  return ending(job, async () => {
    const outcomes: Settled<unknown>[] = []
    for (let piece = await job.delivery.next(); piece !== undefined; piece = await job.delivery.next()) {
      if (piece.run.kind === 'failure') outcomes.push({ status: 'rejected', reason: errorOf(job, piece, submittedAt) })
      else for (const value of valuesOf(piece)) outcomes.push({ status: 'fulfilled', value })
      job.delivery.used(piece, true)
    }
    return outcomes
  })
}

/** A fold from the left, from `initial` or from where a former driver came to. */
export async function reduceAll(
  job: DrivenJob,
  fold: {
    readonly fn: (accumulator: unknown, value: unknown) => unknown
    readonly initial: unknown
  },
  submittedAt: SubmittedAt,
): Promise<unknown> {
  const checkpoint = job.record?.checkpoint
  let accumulator = checkpoint === undefined ? fold.initial : decodeValue(checkpoint.accumulator)
  job.releaser.accumulator = () => encodeValue(accumulator)
  job.delivery.begin({ stream: true, ordered: true })
  let checked = false
  return ending(job, async () => {
    // The function may change what it is given.
    const initial = job.part.fields.reducer === '' ? undefined : encodeValue(fold.initial)
    job.delivery.onRewind = checkpoint => {
      const bytes = checkpoint?.accumulator ?? initial
      accumulator = bytes === undefined ? fold.initial : decodeValue(bytes)
    }
    for (let piece = await job.delivery.next(); piece !== undefined; piece = await job.delivery.next()) {
      if (piece.run.kind === 'failure') throw errorOf(job, piece, submittedAt)
      if (piece.run.kind === 'partial') accumulator = fold.fn(accumulator, decodeValue(piece.bytes))
      else for (const value of valuesOf(piece)) accumulator = fold.fn(accumulator, value)
      // Short jobs end before their first checkpoint. What can't be stored is refused there too, or it would only fail at scale.
      if (!checked) encodeValue(accumulator)
      checked = true
      job.delivery.used(piece, true)
    }
    return accumulator
  })
}

/** @throws {UsageError} for a job whose results only exist combined, by another reducer than `by`. */
export function refuseReduced(job: DrivenJob, by: string): void {
  const { reducer } = job.part.fields
  if (reducer === '' || reducer === by) return
  throw new UsageError(
    `The results of the job ${job.id} are combined by the reducer ${JSON.stringify(reducer)} on the workers, so that the single ones don't exist: call reduce() with that reducer.`,
  )
}

/** Whatever a consumer throws ends the job, and takes the rest of it out of Redis. */
async function ending<T>(job: DrivenJob, consume: () => Promise<T>): Promise<T> {
  let value: T
  try {
    value = await consume()
  } catch (error) {
    await job.endWith(error)
    throw error
  }
  await job.finish()
  return value
}
