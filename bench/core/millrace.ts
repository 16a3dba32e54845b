/** The built product, as its users get it. (`millrace` itself would be looked for in this folder's own package.) */
export { connect, range, reducer, task } from '../../dist/index.js'
export type { Mill, Task } from '../../dist/index.js'
