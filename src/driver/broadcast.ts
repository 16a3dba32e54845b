import { BroadcastTimeoutError } from '../errors.ts'
import { decodeAnswer } from '../protocol/answer.ts'
import { broadcastKey } from '../protocol/keys.ts'
import { randomName } from '../protocol/names.ts'
import { isTransient, outcomeUnknown } from '../store/reply-error.ts'
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
  const { hash, expected } = (await by(deadline, findThreads(context, request.task, deadline))) ?? nobody
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
      const { lane } = store.lane
      const published = store
        .publishControl({ type: 'broadcast', id, hash, lane, deadlineMs, replyChannel: link.channel, task, input })
        .catch((error: unknown) => {
          // Sent again it might run twice: whether it arrived is seen by the answers.
          if (!outcomeUnknown(error) && !isTransient(error)) throw error
        })
      await by(deadline, published)
    }
    while (answers.size < expected.length && performance.now() < deadline) {
      await signal.wait(Math.max(1, Math.min(lookMs, deadline - performance.now())))
      const found = await by(
        deadline,
        link.ask(() => store.client.hgetallBuffer(key)),
      )
      for (const [field, value] of Object.entries(found ?? {})) answers.set(field, value)
    }
  } finally {
    stopListening()
    store.client.unlink(key).catch(() => undefined)
  }
  return expected.map(({ worker, thread }) =>
    answerOf(worker, thread, answers.get(`${worker.id}/${thread}`), request.timeoutMs),
  )
}

const nobody = { hash: '', expected: [] }

/** Every thread that has the code. */
async function findThreads(context: OpeningContext, task: string, deadline: number) {
  const { link } = context
  const hash = await findHash(context, task, {
    get ended() {
      return performance.now() >= deadline
    },
    waitingFor: undefined,
  })
  const workers = (await link.ask(() => link.fleet.read())).filter(worker => worker.hash === hash)
  const expected = workers.flatMap(worker =>
    Array.from({ length: worker.threads }, (_, thread) => ({ worker, thread })),
  )
  return { hash, expected }
}

/** What it gives, or undefined when the deadline comes first. */
async function by<T>(deadline: number, answer: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>(resolve => {
    timer = setTimeout(resolve, Math.max(0, deadline - performance.now()), undefined)
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
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
