export { startWorker } from './start-worker.ts'
export type { RunningWorker } from './start-worker.ts'
export type { WorkerOptions } from './options.ts'
