import { fileURLToPath } from 'node:url'
import { spawnNode } from '../../test/support/process.ts'

/** Starts worker processes of a peer, and resolves with what ends them once they are ready. */
export async function startPeerWorkers(
  peer: 'bullmq' | 'bee-queue' | 'raw',
  count: number,
  port: number,
  work: 'noop' | 'work',
): Promise<() => Promise<void>> {
  const file = fileURLToPath(new URL('./peer-worker.ts', import.meta.url))
  const workers = Array.from({ length: count }, () =>
    spawnNode(['--import', import.meta.resolve('tsx'), file, peer, String(port), work]),
  )
  await Promise.all(workers.map(worker => worker.waitForLine(/^ready$/)))
  return async () => {
    for (const worker of workers) worker.kill('SIGKILL')
    await Promise.all(workers.map(worker => worker.exited))
  }
}
