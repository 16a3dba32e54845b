/** Millrace: distributed computing for TypeScript on the Redis you already run. */
export { reducer, task } from './code/task.ts'
export type { Reducer, ResolvedTaskOptions, SetupContext, Task, TaskContext, TaskOptions } from './code/task.ts'
export { connect } from './driver/connect.ts'
export { Range, range } from './driver/range.ts'
export type {
  BroadcastAnswer,
  ConnectOptions,
  DurabilityReport,
  Handle,
  InputArguments,
  Inputs,
  Job,
  MapOptions,
  Mill,
  Progress,
  Settled,
  SnapshotReport,
  SubmitOptions,
  UnorderedJob,
  WorkerView,
} from './driver/types.ts'
export * from './errors.ts'
export type { ClusterInput, RedisInput } from './store/target.ts'
