/** The task module of the demo, which workers anywhere can be given: `millrace worker --demo`. */
export function demoTasksUrl(): URL {
  return new URL(`./tasks${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url)
}
