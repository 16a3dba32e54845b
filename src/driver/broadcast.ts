import { BroadcastTimeoutError } from '../errors.ts'
import { decodeAnswer } from '../protocol/answer.ts'
import { broadcastKey } from '../protocol/keys.ts'
import { randomName } from '../protocol/names.ts'
import type { OpeningContext } from './opening.ts'
import { findHash } from './opening.ts'
import { Signal } from './signal.ts'
import type { BroadcastAnswer, WorkerView } from './types.ts'

/** Messages are hints: the answers are looked for this often all the same. */
const lookMs = 500

/** Runs a task once in every live thread that has the code, and collects what each says until the deadline. */
export async function broadcast(
  context: OpeningContext,
  request: { readonly task: string; readonly input: Buffer; readonly timeoutMs: number },
): Promise<BroadcastAnswer<unknown>[]> {
  const { link } = context
  // Every worker is on every lane, so that any would do; this is the one whose workers the fleet was read from.
  const { first: store } = link.lanes
  const deadline = performance.now() + request.timeoutMs
  const hash = await findHash(context, request.task)
  const workers = (await link.fleet.read()).filter(worker => worker.hash === hash)
  const expected = workers.flatMap(worker =>
    Array.from({ length: worker.threads }, (_, thread) => ({ worker, thread })),
  )
  const id = randomName()
  const key = broadcastKey(store.lane, id)
  const signal = new Signal()
  const stopListening = link.onAnswers(id, () => {
    signal.fire()
  })
  const answers = new Map<string, Buffer>()
  try {
    if (expected.length > 0) {
      const deadlineMs = Math.max(1, Math.ceil(deadline - performance.now()))
      const { task, input } = request
      await store.publishControl({
        type: 'broadcast',
        id,
        hash,
        lane: store.lane.lane,
        deadlineMs,
        replyChannel: link.channel,
        task,
        input,
      })
    }
    while (answers.size < expected.length && performance.now() < deadline) {
      await signal.wait(Math.max(1, Math.min(lookMs, deadline - performance.now())))
      for (const [field, value] of Object.entries(await store.client.hgetallBuffer(key))) answers.set(field, value)
    }
  } finally {
    stopListening()
    store.client.unlink(key).catch(() => undefined)
  }
  return expected.map(({ worker, thread }) =>
    answerOf(worker, thread, answers.get(`${worker.id}/${thread}`), request.timeoutMs),
  )
}

function answerOf(
  worker: WorkerView,
  thread: number,
  bytes: Buffer | undefined,
  timeoutMs: number,
): BroadcastAnswer<unknown> {
  const who = { worker: `${worker.host}:${worker.pid}`, thread }
  if (bytes === undefined) {
    return {
      ...who,
      error: new BroadcastTimeoutError(
        `Thread ${thread} of the worker ${who.worker} did not answer the broadcast within ${timeoutMs} ms: it is busy, or has gone.`,
      ),
    }
  }
  return { ...who, ...decodeAnswer(bytes) }
}
