/**
 * What everything that runs in the background obeys. The constructor does no I/O; `start` is called once; `stop` is
 * safe twice and before `start`, and resolves when the service is quiet: nothing of it runs any more.
 */
export interface Service {
  start(): void | Promise<void>
  stop(): Promise<void>
}
