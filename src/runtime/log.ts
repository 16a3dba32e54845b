/** Where a service says what a person may want to know. Passed in, so that a library never writes by itself. */
export interface Log {
  info(line: string): void
  warn(line: string): void
}

/** Says nothing. */
export const silentLog: Log = { info: () => undefined, warn: () => undefined }
