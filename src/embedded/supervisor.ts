/** The program of the supervisor: `node supervisor.js <data folder> <run folder> <redis-server>`. Its output goes to the log. */
import { describePlace } from './place.ts'
import { supervise } from './supervise.ts'

const [dataDir, runFolder, program] = process.argv.slice(2)
if (dataDir === undefined || runFolder === undefined || program === undefined) {
  throw new Error('usage: supervisor <data folder> <run folder> <redis-server>')
}
await supervise(describePlace(dataDir, runFolder), program)
// Signal handlers and the pipes of a dying probe must not hold the process.
process.exit(0)
