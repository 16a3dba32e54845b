import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads'
import type { MessagePort, WorkerOptions } from 'node:worker_threads'

/** What every thread is started with besides. */
export interface WithPort {
  /** The thread's end of its channel. */
  readonly port: MessagePort
}

/** A thread, and our end of the channel to it. */
export interface PrivateThread {
  readonly worker: Worker
  readonly port: MessagePort
}

/**
 * Starts a thread with a channel that only its entry knows: what its tasks post to `parentPort`, as code that was written
 * for bare worker threads does, must not be taken for a message of ours. By the time that the Worker emits 'exit',
 * `onMessage` has been given all that the thread sent.
 */
export function startPrivateThread(
  entry: URL,
  { workerData, ...options }: Pick<WorkerOptions, 'name' | 'resourceLimits'> & { readonly workerData: object },
  onMessage: (message: unknown) => void,
): PrivateThread {
  const { port1: port, port2 } = new MessageChannel()
  const worker = new Worker(entry, { ...options, workerData: { ...workerData, port: port2 }, transferList: [port2] })
  port.on('message', onMessage)
  worker.once('exit', () => {
    for (;;) {
      const received = receiveMessageOnPort(port) as { readonly message: unknown } | undefined
      if (received === undefined) break
      onMessage(received.message)
    }
    port.close()
  })
  return { worker, port }
}
